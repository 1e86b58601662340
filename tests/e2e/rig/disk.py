"""
A disk that remembers its writes and flushes (see disk_server.py), and what is on it after the power
went at any moment.

A disk may keep writes in its cache until it is told to flush: after a cut everything before the last
flush is there, and any of what came after. Needs root, /dev/fuse and loop devices.
"""

import ctypes
import os
import shutil
import struct
import subprocess
import sys

from .process import NotHere, check, run

CLONE_NEWNS = 0x20000
MKFS = {
    "ext4": (64, ["mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=0"]),
    "xfs": (320, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (160, ["mkfs.btrfs", "-q", "-f", "-d", "single", "-m", "single"]),
}


def private_mounts():
    """The calling process and what it starts get mounts of their own, which end with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise NotHere(f"unshare(CLONE_NEWNS): {os.strerror(ctypes.get_errno())}")
    # In a chroot "/" is no mount point, and mounts would show outside.
    made = run(["mount", "--make-rprivate", "/"])
    if made.returncode != 0:
        raise NotHere(made.stderr.strip())


class RecordingDisk:
    """Mounted at .mountpoint with the file system KIND; everything in FOLDER."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        self.image, self.base = f"{folder}/image", f"{folder}/base"
        self.record, self.mountpoint = f"{folder}/record", f"{folder}/mounted"
        self.server, self.mounted = None, False

    def __enter__(self):
        os.makedirs(f"{self.folder}/fuse")
        os.mkdir(self.mountpoint)
        mebibytes, mkfs = MKFS[self.kind]
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        check([*mkfs, self.image])
        check(["cp", "--sparse=always", self.image, self.base])
        script = os.path.join(os.path.dirname(__file__), "disk_server.py")
        self.server = subprocess.Popen([sys.executable, script, self.image, f"{self.folder}/fuse",
                                        self.record], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            if self.server.stdout.readline() != b"mounted\n":
                raise NotHere("no FUSE file system can be mounted")
            mounted = run(["mount", "-o", "loop,noatime", "-t", self.kind,
                           f"{self.folder}/fuse/disk", self.mountpoint])
            if mounted.returncode != 0:
                raise NotHere(f"no {self.kind} on a loop device: {mounted.stderr.strip()}")
            self.mounted = True
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        if self.mounted:
            check(["umount", self.mountpoint])
            self.mounted = False
        if os.path.ismount(f"{self.folder}/fuse"):
            check(["umount", f"{self.folder}/fuse"])
        self.server.stdout.close()
        if self.server.poll() is None:
            try:
                self.server.wait(5)
            except subprocess.TimeoutExpired:
                self.server.kill()
        self.server.wait()

    def now(self):
        """The moment as a length of the record."""
        return os.path.getsize(self.record)

    def replay(self):
        return Replay(self)


class Replay:
    """Steps through the record from its beginning."""

    def __init__(self, disk):
        self.kind, self.folder = disk.kind, disk.folder
        with open(disk.record, "rb") as record:
            self.record = record.read()
        self.moment = 0
        self.since_flush = []  # (offset, data) that the disk's cache may hold
        self.durable = f"{disk.folder}/durable"
        check(["cp", "--sparse=always", disk.base, self.durable])
        self.file = os.open(self.durable, os.O_RDWR)

    def moments(self):
        """Where each write and flush ends."""
        at, found = 0, []
        while at + 16 <= len(self.record):
            at += 16 + struct.unpack_from("<Q", self.record, at + 8)[0]
            found.append(at)
        return found

    def forward(self, moment):
        while self.moment < moment:
            offset, length = struct.unpack_from("<QQ", self.record, self.moment)
            begin = self.moment + 16
            if length == 0:
                for where, data in self.since_flush:
                    os.pwrite(self.file, data, where)
                self.since_flush = []
            else:
                self.since_flush.append((offset, self.record[begin:begin + length]))
            self.moment = begin + length

    def cut(self, keeps, look):
        """
        The power goes now: of the N writes since the last flush those are kept that KEEPS(n) says.
        LOOK gets the folder where the disk is mounted again.
        """
        scratch, where = f"{self.folder}/scratch", f"{self.folder}/after"
        check(["cp", "--sparse=always", self.durable, scratch])
        with open(scratch, "r+b") as image:
            for number, (offset, data) in enumerate(self.since_flush):
                if keeps(number):
                    image.seek(offset)
                    image.write(data)
        os.makedirs(where, exist_ok=True)
        check(["mount", "-o", "loop,noatime", "-t", self.kind, scratch, where])
        try:
            look(where)
        finally:
            check(["umount", where])

    def close(self):
        os.close(self.file)
        for name in ("durable", "scratch", "after"):
            path = f"{self.folder}/{name}"
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.unlink(path)
