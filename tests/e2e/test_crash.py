"""
Kill -9 at every system call of a delivery, and at random moments under load: what was acknowledged
is there, nothing is there in part, and the quota is right after one more delivery.

POSTERN_LONG=1 takes every system call and a thousand random kills instead of those that matter and
sixty.
"""

import concurrent.futures
import os
import random
import shutil
import threading
import time

from rig import ledger
from rig.client import Load, Transaction, agent, deliver, greet
from rig.host import Host
from rig.process import wait_for
from rig.strace import Strace, calls, injecting, traced

LONG = os.environ.get("POSTERN_LONG") == "1"
# Those that change something on the disk or tell somebody; the rest only in the long run.
MATTER = {"openat", "openat2", "mkdirat", "write", "writev", "pwrite64", "pwritev", "ftruncate",
          "fallocate", "fdatasync", "fsync", "syncfs", "sync_file_range", "linkat", "unlinkat",
          "renameat", "renameat2", "fcntl", "flock", "fchmod", "fchown", "utimensat", "close",
          "sendto", "sendmsg"}
NEVER = {"execve", "exit", "exit_group", "rt_sigreturn", "restart_syscall"}
ACCOUNTS = ("alice@example.com", "erin@example.org", "frank@example.org", "heidi@example.com")
LIMITED = ACCOUNTS[:3]  # these have a quota


def wanted(ranges):
    return {name: numbers for name, numbers in sorted(ranges.items())
            if name not in NEVER and (LONG or name in MATTER)}


def check_mailbox(host, address, account, limited=True):
    maildir = host.maildir(address)
    account.check(maildir)
    assert not ledger.debris(maildir), ledger.debris(maildir)
    if limited:
        ledger.check_quota_file(maildir)


def test_agent_killed_at_each_call():
    """Each time into a Maildir that is not there yet, so that its making is interrupted as well."""
    with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
        trace = os.path.join(host.folder, "trace")
        assert agent(host, "first", "alice@example.com", ledger.Ledger(),
                     before=lambda argv: traced(argv, trace)) == 0
        # What comes before it opens the mail base is the dynamic loader's and the database's.
        ranges = wanted(calls(trace, None if LONG else f'"{host.mail}'))
        assert {"linkat", "mkdirat", "write", "openat"} <= set(ranges), ranges
        places = sorted(ACCOUNTS)[:2]

        def kill_at_each(address, names):
            return sum(kill_at(address, name, number) for name in names
                       for number in range(ranges[name][0], ranges[name][1] + 1))

        def kill_at(address, name, number):
            maildir, account = host.maildir(address), ledger.Ledger()
            shutil.rmtree(maildir, ignore_errors=True)
            moment = f"{name}.{number}"
            code = agent(host, moment, address, account, before=lambda argv: injecting(
                name, "signal=KILL", number, argv))
            assert code in (0, -9, 137), f"{moment}: {code}"
            if os.path.isdir(maildir):
                account.check(maildir)
                left = [os.path.basename(path) for path in ledger.debris(maildir)]
                # The one that the next count writes over.
                assert left in ([], ["maildirsize.new"]), f"{moment}: {left}"
            assert agent(host, f"{moment}.after", address, account) == 0, moment
            try:
                check_mailbox(host, address, account)
            except AssertionError as fault:
                raise AssertionError(f"killed at {moment}: {fault}") from None
            return code != 0

        names = list(ranges)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            kills = sum(pool.map(kill_at_each, places, (names[::2], names[1::2])))
        print(f"{kills} kills of the agent at {len(ranges)} kinds of calls")
        assert kills > 20, kills


def begins(transaction):
    try:
        transaction.begin()
    except (OSError, EOFError):
        return False
    return True


def kill_daemon_at(host, name, number, accounts):
    """One transaction to all of ACCOUNTS; False: it went through, so there was no such call."""
    daemon = host.daemons["lmtp"]
    moment = f"{name}.{number}"
    options = ("-e", f"trace=?{name}", "-e", f"inject=?{name}:signal=KILL:when={number}")
    with greet(f"{host.sockets}/lmtp") as dialogue:
        transaction = Transaction(dialogue, moment, accounts)
        if not LONG:
            transaction.begin()
        with Strace(daemon.process.pid, *options) as strace:
            done = (not LONG or begins(transaction)) and transaction.finish()
            if not done:
                strace.wait()
    if done:
        return False
    assert daemon.process.wait(20) == -9, daemon.log_tail()
    daemon.kill()
    daemon.start()
    return True


def check_after_kill(host, identifier, accounts):
    replies = deliver(f"{host.sockets}/lmtp", identifier, accounts)
    assert all((reply or "").startswith("250") for reply in replies.values()), replies
    for address, account in accounts.items():
        check_mailbox(host, address, account, address in LIMITED)


def test_daemon_killed_at_each_call():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"lmtp": {"workers": "3"}}) as host:
        path, trace = f"{host.sockets}/lmtp", os.path.join(host.folder, "trace")
        accounts = {address: ledger.Ledger() for address in ACCOUNTS}
        with greet(path) as dialogue:
            transaction = Transaction(dialogue, "first", accounts)
            if LONG:
                with Strace(host.daemons["lmtp"].process.pid, output=trace):
                    transaction.begin()
                    assert transaction.finish()
            else:
                transaction.begin()
                with Strace(host.daemons["lmtp"].process.pid, output=trace):
                    assert transaction.finish()
        assert len(accounts["alice@example.com"].acknowledged) == 1, transaction.replies
        ranges = wanted(calls(trace))
        assert {"linkat", "sendto"} <= set(ranges), ranges
        kills = 0
        for name in ranges:
            number = 1
            while kill_daemon_at(host, name, number, accounts):
                try:
                    check_after_kill(host, f"{name}.{number}.after", accounts)
                except AssertionError as fault:
                    raise AssertionError(f"killed at {name}.{number}: {fault}") from None
                number += 1
                kills += 1
                if kills % 8 == 0:  # small mailboxes are looked through sooner
                    for address in ACCOUNTS:
                        shutil.rmtree(host.maildir(address))
                        accounts[address] = ledger.Ledger()
        print(f"{kills} kills of the daemon at {len(ranges)} kinds of calls")
        assert kills > 20, kills


def test_killed_at_random_under_load():
    seed = int(os.environ.get("POSTERN_SEED", random.randrange(1 << 30)))
    choice = random.Random(seed)
    kills = 1000 if LONG else 60
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"lmtp": {"workers": "6"}, "log": {"level": "warning"}}) as host:
        # Room for all of it: nothing here may be refused.
        host.sql("UPDATE mailbox SET quota = 100000000000 WHERE quota > 0;")
        daemon, path = host.daemons["lmtp"], f"{host.sockets}/lmtp"
        accounts = {address: ledger.Ledger() for address in ACCOUNTS}
        ended = threading.Event()

        def agents():
            """
            Processes that share mailboxes with the daemon which is killed, and others that hand
            their message over to it.
            """
            number = 0
            while not ended.is_set():
                number += 1
                address = ACCOUNTS[number % 4]
                agent(host, f"agent.{number}", address, accounts[address],
                      alone=bool(choose.getrandbits(1)))
        choose = random.Random(seed + 1)
        beside = threading.Thread(target=agents)
        beside.start()
        try:
            with Load(path, accounts, 4, seed) as load:
                for _ in range(kills):
                    time.sleep(choice.uniform(0.005, 0.25))
                    daemon.kill()
                    daemon.start()
                before = acknowledged(accounts)
                wait_for("mail after the last kill", lambda: acknowledged(accounts) > before)
        finally:
            ended.set()
            beside.join()
        print(f"seed {seed}: {kills} kills, {acknowledged(accounts)} copies acknowledged, "
              f"{sum(len(one.unknown) for one in accounts.values())} without a reply")
        assert not load.faults, load.faults
        replies = deliver(path, "after", accounts)
        assert all((reply or "").startswith("250") for reply in replies.values()), replies
        twice = 0
        for address, account in accounts.items():
            assert not account.refused, sorted(account.refused)[:5]
            counts = account.check(host.maildir(address))
            assert not ledger.debris(host.maildir(address)), ledger.debris(host.maildir(address))
            twice += sum(count > 1 for count in counts.values())
            if address in LIMITED:
                ledger.check_quota_file(host.maildir(address))
        print(f"{twice} copies twice, each after a lost reply")


def acknowledged(accounts):
    return sum(len(account.acknowledged) for account in accounts.values())
