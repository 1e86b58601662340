"""
The power goes at any moment of deliveries under load, on ext4, XFS and btrfs: what was acknowledged
is there when the disk is mounted again, nothing is there in part, and the quota is right after one
more delivery.

POSTERN_LONG=1 tries fifty times as many moments.
"""

import collections
import os
import random
import shutil
import tempfile
import threading
import time

from rig import ledger
from rig.client import Load, agent
from rig.disk import RecordingDisk, private_mounts
from rig.host import OWNER, Host
from rig.process import check

LONG = os.environ.get("POSTERN_LONG") == "1"
CUTS = 1500 if LONG else 24  # of each file system
LIMITED = ("alice@example.com", "erin@example.org", "frank@example.org")
ACCOUNTS = (*LIMITED, "heidi@example.com")
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class TimedLedger(ledger.Ledger):
    """Knows at which moment of DISK it was told what."""

    def __init__(self, disk):
        super().__init__()
        self.disk, self.told = disk, {}

    def note(self, identifier, reply):
        super().note(identifier, reply)
        if reply is not None and reply.startswith("2"):
            self.told.setdefault(identifier, self.disk.now())

    def at(self, moment):
        """What it knew then; everything else might have been on its way."""
        past = ledger.Ledger()
        past.acknowledged = {name for name, when in self.told.items() if when <= moment}
        past.unknown = self.acknowledged | self.unknown | self.refused
        return past


def host_on(folder):
    host = Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
                settings={"mail": {"base": folder}, "log": {"level": "warning"},
                          "lmtp": {"workers": "6"}})
    host.mail = folder
    return host


def deliver_for_a_while(host, accounts, seed):
    ended = threading.Event()

    def agents():
        number = 0
        while not ended.is_set():
            number += 1
            address = ACCOUNTS[number % len(ACCOUNTS)]
            agent(host, f"agent.{number}", address, accounts[address])
    beside = threading.Thread(target=agents)
    beside.start()
    try:
        with Load(f"{host.sockets}/lmtp", accounts, 3, seed) as load:
            time.sleep(0.7)  # how long mail comes in
    finally:
        ended.set()
        beside.join()
    assert not load.faults, load.faults


def record(disk, seed):
    """({address: TimedLedger}, the moment when all was told)."""
    shutil.chown(disk.mountpoint, OWNER, "nogroup")
    os.sync()
    begin = disk.now()
    accounts = {address: TimedLedger(disk) for address in ACCOUNTS}
    with host_on(disk.mountpoint) as host:
        deliver_for_a_while(host, accounts, seed)
        for address, account in accounts.items():
            assert not account.refused, account.said
            account.check(host.maildir(address))
    return accounts, begin, disk.now()


def inside(where, address):
    local, domain = address.split("@")
    return os.path.join(where, domain, local)


def look_after_cut(host, where, accounts, moment, tally):
    for address, account in accounts.items():
        past = account.at(moment)
        maildir = inside(where, address)
        counts = past.check(maildir)
        tally["acknowledged"] += len(past.acknowledged)
        tally["more"] += len(counts) - len(past.acknowledged)
    # The next delivery after the boot.
    host.sections["mail"]["base"] = where
    host.write_config()
    for address in LIMITED:
        assert agent(host, "after", address, ledger.Ledger()) == 0, address
        ledger.check_quota_file(inside(where, address))
    assert not ledger.debris(where), ledger.debris(where)


def choose(choice, moments, accounts):
    """
    (moment, the share of the disk's cache that is kept): half of them just when somebody was told
    something and with nothing of the cache, where a promise made too early shows.
    """
    told = sorted({when for account in accounts.values() for when in account.told.values()})
    some = choice.sample(told, min(CUTS // 2, len(told)))
    others = choice.sample(moments, min(CUTS - len(some), len(moments)))
    return sorted([(moment, 0.0) for moment in some] +
                  [(moment, choice.choice((0.0, 0.5, 1.0))) for moment in others])


def is_roomy(folder):
    return os.path.isdir(folder) and shutil.disk_usage(folder).free > 2 << 30


def cut_power(kind):
    seed = int(os.environ.get("POSTERN_SEED", random.randrange(1 << 30)))
    choice = random.Random(seed)
    memory = "/dev/shm" if is_roomy("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="postern-disk-", dir=memory)
    os.chmod(folder, 0o755)
    private_mounts()
    try:
        with RecordingDisk(folder, kind) as disk:
            accounts, begin, end = record(disk, seed)
        replay, tally = disk.replay(), collections.Counter()
        moments = [moment for moment in replay.moments() if begin < moment <= end]
        chosen = choose(choice, moments, accounts)
        with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
            another_boot(folder)
            try:
                for number, (moment, share) in enumerate(chosen):
                    replay.forward(moment)
                    try:
                        replay.cut(lambda _, share=share: choice.random() < share,
                                   lambda where, moment=moment: look_after_cut(host, where, accounts, moment, tally))
                    except AssertionError as fault:
                        raise AssertionError(f"seed {seed}, {kind}, cut {number} at {moment} of {end}, "
                                             f"{share} of the cache: {fault}") from None
            finally:
                same_boot()
        replay.close()
        print(f"seed {seed}, {kind}: {len(chosen)} power cuts among {len(moments)} writes and flushes, "
              f"{tally['acknowledged']} acknowledged copies looked for, "
              f"{tally['more']} more were there")
        assert tally["acknowledged"] > 100, tally
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def another_boot(folder):
    path = os.path.join(folder, "boot_id")
    with open(path, "w", encoding="ascii") as out:
        out.write("00000000-1111-4222-8333-444444444444\n")
    os.chmod(path, 0o644)
    check(["mount", "--bind", path, BOOT_ID])


def same_boot():
    check(["umount", BOOT_ID])


def test_ext4():
    cut_power("ext4")


def test_xfs():
    cut_power("xfs")


def test_btrfs():
    cut_power("btrfs")
