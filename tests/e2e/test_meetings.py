"""Deliveries that meet: at a limit, under a dying caller, on a clock that stands still."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

from rig import TOP, ledger
from rig.client import agent, agent_argv, deliver
from rig.host import Host
from rig.process import check, wait_for

ALICE = "alice@example.com"


def test_two_hundred_at_once_never_pass_the_limit():
    """Half by LMTP and half by agents; exactly as many fit as fit one after another."""
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"log": {"level": "error"}}) as host:
        account, path = ledger.Ledger(), f"{host.sockets}/lmtp"
        maildir = host.maildir(ALICE)
        assert agent(host, "first-000", ALICE, account) == 0
        size = ledger.files(maildir)[0][1]  # of each one, as all names are of one length
        host.sql(f"UPDATE mailbox SET quota = {61 * size + size // 2} WHERE username = '{ALICE}';")

        def by_lmtp(number):
            return deliver(path, f"lmtps-{number:03}", {ALICE: account})[ALICE]

        def by_agent(number):
            return agent(host, f"agent-{number:03}", ALICE, account)
        with concurrent.futures.ThreadPoolExecutor(24) as sessions, \
             concurrent.futures.ThreadPoolExecutor(8) as processes:
            codes = processes.map(by_agent, range(100))
            replies = list(sessions.map(by_lmtp, range(100)))
            codes = list(codes)
        stored = sum(size for _, size in ledger.files(maildir))
        assert len(account.acknowledged) == 61, f"{len(account.acknowledged)} acknowledged"
        assert stored == 61 * size, f"{stored} bytes, {stored / size} messages"
        assert set(codes) <= {0, 75}, set(codes)
        assert all(reply.startswith(("250 2.0.0 ", "452 4.2.2 ")) for reply in replies), replies
        assert all(said.startswith(("452 4.2.2 ", "4.2.2 ")) for said in account.said.values())
        account.check(maildir)
        ledger.check_quota_file(maildir)
        first, used_bytes, used_messages = ledger.quota_file(maildir)
        assert (used_bytes, used_messages) == (stored, 61), (first, used_bytes, used_messages)
        assert codes.count(0) and sum(reply.startswith("250") for reply in replies), \
            "only one kind of deliverer got in"


CALLER = """
import subprocess, sys, time
size, argv = int(sys.argv[1]), sys.argv[2:]
# As pipe(8) does: all three are the caller's.
child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
print(child.pid, flush=True)
child.stdin.write(b"Subject: half\\n\\n" + b"x" * size)
child.stdin.flush()
print("written", flush=True)
time.sleep(60)
"""


def test_agent_stores_no_half_message_when_its_caller_is_killed():
    """To the agent it looks like a proper end of the message."""
    with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
        for number in range(12):
            with subprocess.Popen([sys.executable, "-c", CALLER, str(number * 10000),
                                   *agent_argv(host, ALICE)], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as caller:
                child = int(caller.stdout.readline())
                assert caller.stdout.readline() == b"written\n"
                time.sleep(0.003 * number)  # also in the middle of its start
                caller.send_signal(signal.SIGKILL)
            wait_for("the agent to end", lambda: not os.path.exists(f"/proc/{child}")  # noqa: B023
                     or zombie(child))  # noqa: B023
        assert host.messages(ALICE) == []
        account = ledger.Ledger()
        assert agent(host, "whole", ALICE, account) == 0
        account.check(host.maildir(ALICE))


def zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
            return status.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_names_stay_unique_when_clock_and_process_id_repeat():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False) as host:
        library = os.path.join(host.folder, "stuck_clock.so")
        check(["cc", "-shared", "-fPIC", "-O1", "-o", library,
               os.path.join(TOP, "tests", "e2e", "rig", "stuck_clock.c")])
        os.chmod(library, 0o755)
        daemon, account = host.daemons["lmtp"], ledger.Ledger()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: agent(
                host, f"agent-{number}", ALICE, account, before=lambda argv: [
                    "env", f"LD_PRELOAD={library}", f"STUCK_CLOCK={1000000000 - number % 2}", *argv]),
                range(40)))
            for life in range(2):
                assert daemon.stop() == 0
                daemon.env.update(LD_PRELOAD=library, STUCK_CLOCK="1000000000")
                daemon.start()
                list(pool.map(lambda number, life=life: deliver(
                    f"{host.sockets}/lmtp", f"lmtp-{life}-{number}", {ALICE: account}), range(40)))
        counts = account.check(host.maildir(ALICE))
        assert len(account.acknowledged) == len(counts) == 120, (len(counts), account.said)
        names = [os.path.basename(path) for path in host.messages(ALICE)]
        bases = {name.split(",", 1)[0] for name in names}
        assert len(bases) == 120, "names differ by their sizes alone"
        times = {name.split(".", 1)[0] for name in names}
        assert times == {"1000000000", "999999999"}, times
