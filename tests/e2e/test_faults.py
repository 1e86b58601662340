"""
Each system call of a delivery fails once, for each reason a disk can have: the reply is a 4xx of the
right class or the message is there, nothing is there in part, and the same daemon takes the next one.

POSTERN_LONG=1 fails every system call, not just those that work on files.
"""

import collections
import concurrent.futures
import os
import re
import shutil

from rig import ledger
from rig.client import Transaction, agent, deliver, greet
from rig.host import Host
from rig.strace import Strace, calls, injecting, traced

LONG = os.environ.get("POSTERN_LONG") == "1"
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EMFILE", "EROFS", "EACCES")
FULL = ("ENOSPC", "EDQUOT")
# Those that make room for the message: there a full disk must be told from other trouble. (What is
# written by write and pwrite64 is the quota's.)
STORING = {"writev", "fallocate", "fdatasync", "fsync", "syncfs", "linkat", "mkdirat", "write", "pwrite64"}
# Which errors a call can have at all: a close that says EMFILE proves nothing.
FILES = {
    "openat": ERRORS, "openat2": ERRORS, "mkdirat": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "write": ("ENOSPC", "EDQUOT", "EIO"), "writev": ("ENOSPC", "EDQUOT", "EIO"),
    "pwrite64": ("ENOSPC", "EDQUOT", "EIO"), "pwritev": ("ENOSPC", "EDQUOT", "EIO"),
    "read": ("EIO",), "pread64": ("EIO",), "getdents64": ("EIO", "EACCES"),
    "fallocate": ("ENOSPC", "EDQUOT", "EIO"), "ftruncate": ("EIO", "EROFS"),
    "fdatasync": ("ENOSPC", "EDQUOT", "EIO", "EROFS"), "fsync": ("ENOSPC", "EDQUOT", "EIO", "EROFS"),
    "syncfs": ("ENOSPC", "EDQUOT", "EIO"), "sync_file_range": ("ENOSPC", "EIO"),
    "linkat": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "unlinkat": ("EIO", "EROFS", "EACCES"), "renameat": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "renameat2": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"), "newfstatat": ("EIO", "EACCES"),
    "fstat": ("EIO",), "statx": ("EIO", "EACCES"), "fcntl": ("EIO",), "flock": ("EIO",),
    "fchmod": ("EIO", "EROFS", "EACCES"), "fchown": ("EIO", "EROFS", "EACCES"),
    "fchmodat": ("EIO", "EROFS", "EACCES"), "fchownat": ("EIO", "EROFS", "EACCES"),
    "utimensat": ("EIO", "EROFS", "EACCES"),
    # Not close: the kernel closes whatever it says, but a call that strace fails is not made.
}
NEVER = {"execve", "exit", "exit_group", "rt_sigreturn", "rt_sigprocmask", "restart_syscall",
         "rt_sigtimedwait", "epoll_wait", "futex", "poll", "close", "mmap", "munmap", "brk", "mprotect",
         "madvise"}
LIMITED = ("alice@example.com", "erin@example.org")
OWNERS = ("alice@example.com", "heidi@example.com")  # with a quota, and without


def plan(ranges):
    """(call, error) in order."""
    return [(name, error) for name in sorted(ranges) if name in FILES or (LONG and name not in NEVER)
            for error in FILES.get(name, ("EIO",))]


def judge(moment, name, error, reply):
    """A reply is a success, a deferral of the right class, or missing; never a refusal."""
    if reply is None or reply.startswith("250 2."):
        return
    classes = ["452 4.3.1 "] if error in FULL else []
    if error not in FULL or name not in STORING:
        classes += ["451 4.2.0 ", "451 4.3.0 "]
    assert reply.startswith(tuple(classes)), f"{moment}: {reply}"


def fail_at(host, kind, name, error, number, accounts):
    """One transaction meets the failing call, the next one does not. True: a copy was deferred."""
    path, moment = f"{host.sockets}/lmtp", f"{kind}-{name}-{error}-{number}"
    with greet(path) as dialogue:
        transaction = Transaction(dialogue, moment, accounts)
        transaction.begin()
        with Strace(host.daemons["lmtp"].process.pid, "-e", f"trace=?{name}", "-e",
                    f"inject=?{name}:error={error}:when={number}"):
            transaction.finish()
    after = deliver(path, f"{moment}.after", accounts)
    for reply in transaction.replies.values():
        judge(moment, name, error, reply)
    assert all((reply or "").startswith("250 ") for reply in after.values()), \
        f"{moment}, the next one: {after}"
    try:
        for address, account in accounts.items():
            account.check(host.maildir(address))
            assert not ledger.debris(host.maildir(address)), ledger.debris(host.maildir(address))
        ledger.check_quota_file(host.maildir(OWNERS[0]))
    except AssertionError as fault:
        raise AssertionError(f"{moment}: {fault}") from None
    return any((reply or "4")[0] == "4" for reply in transaction.replies.values())


def learn(host, identifier):
    """The failing calls that the second half of a transaction can meet."""
    accounts = {address: ledger.Ledger() for address in OWNERS}
    trace = os.path.join(host.folder, "trace")
    with greet(f"{host.sockets}/lmtp") as dialogue:
        transaction = Transaction(dialogue, identifier, accounts)
        transaction.begin()
        with Strace(host.daemons["lmtp"].process.pid, output=trace):
            assert transaction.finish()
    ranges = calls(trace)
    assert {"linkat", "write", "openat"} <= set(ranges), ranges
    return [(name, error, number) for name, error in plan(ranges)
            # The rarer errors take the same ways out as these two: one of each shows that.
            for number in range(1, ranges[name][1] + 1 if LONG or error in ("ENOSPC", "EIO") else 2)]


def test_daemon_at_each_call():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"lmtp": {"workers": "3"}}) as host:
        deferred, wrong, count = collections.Counter(), [], 0
        for kind in ("new", "ready"):  # Maildirs
            for name, error, number in learn(host, f"first.{kind}"):
                for address in OWNERS:
                    shutil.rmtree(host.maildir(address))
                accounts = {address: ledger.Ledger() for address in OWNERS}
                if kind == "ready":
                    deliver(f"{host.sockets}/lmtp", f"before.{count}", accounts)
                count += 1
                try:
                    deferred[name] += fail_at(host, kind, name, error, number, accounts)
                except AssertionError as fault:
                    wrong.append(str(fault))
        assert host.daemons["lmtp"].process.poll() is None
        print(f"{count} faults, deferrals by call: {dict(deferred)}")
        assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])
        assert all(deferred[name] for name in ("linkat", "write", "openat", "mkdirat")), deferred


def test_agent_at_each_call():
    """The exit code is 0 or 75, the text begins with a status of class 4."""
    with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
        trace = os.path.join(host.folder, "trace")
        assert agent(host, "first", LIMITED[0], ledger.Ledger(),
                     before=lambda argv: traced(argv, trace)) == 0
        ranges = calls(trace, None if LONG else f'"{host.mail}')
        faults = [(name, error, number) for name, error in plan(ranges)
                  for number in range(ranges[name][0], ranges[name][1] + 1)
                  if LONG or error == "ENOSPC" or number == ranges[name][0]]

        def fail_each(address, moments):
            wrong = []
            for moment in moments:
                try:
                    fail_agent_at(host, address, *moment)
                except AssertionError as fault:
                    wrong.append(f"{moment}: {fault}")
            return wrong
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            wrong = sum(pool.map(fail_each, LIMITED, (faults[::2], faults[1::2])), [])
        print(f"{len(faults)} faults of the agent at {len(ranges)} kinds of calls")
        assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])


def fail_agent_at(host, address, name, error, number):
    account = ledger.Ledger()
    shutil.rmtree(host.maildir(address), ignore_errors=True)
    code = agent(host, "fault", address, account, before=lambda argv: injecting(
        name, f"error={error}", number, argv))
    # What fails in the dynamic loader ends with its own code.
    assert code in (0, 75) or (LONG and code in (1, 127)), f"exit {code}"
    if code == 75:
        # iniparser complains on standard error by itself.
        said = re.sub(r"\Ainiparser: .*\n", "", next(iter(account.said.values())))
        assert re.match(r"4\.\d\.\d ", said), said
        assert error not in FULL or name not in STORING or said.startswith("4.3.1 "), said
    assert agent(host, "after", address, account) == 0
    account.check(host.maildir(address))
    ledger.check_quota_file(host.maildir(address))
