#!/usr/bin/env python3
"""
disk_server.py IMAGE MOUNTPOINT RECORD: a FUSE file system with one file, "disk", which shows IMAGE;
every write to it and every flush is appended to RECORD, in the order in which they came, before it
is answered. A loop device over that file is a disk that remembers everything it was told.

RECORD is a row of headers (offset, length; little-endian u64 each), each with its data; length 0 is
a flush. The FUSE protocol is spoken to /dev/fuse directly (linux/fuse.h, version 7.31). Ends with
its mount, or with the process that started it.
"""

import ctypes
import errno
import os
import signal
import struct
import sys

LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH = 14, 15, 16, 17, 18, 20, 25
INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS = 26, 27, 28, 29, 34
INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42
ROOT, DISK = 1, 2
HEADER = struct.Struct("<IIQQIIII")  # len opcode unique node uid gid pid padding
MAX_WRITE = 1 << 20
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
EVER = 1 << 30


def attributes(node, size):
    mode, links = (0o40755, 2) if node == ROOT else (0o100600, 1)
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, links,
                       0, 0, 0, 4096, 0)


class Server:
    def __init__(self, device, image, record):
        self.device, self.image, self.record = device, image, record
        self.size = os.fstat(image).st_size

    def serve(self):
        while True:
            try:
                request = os.read(self.device, MAX_WRITE + 65536)
            except OSError as fault:
                if fault.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                if fault.errno == errno.ENODEV:  # unmounted
                    return
                raise
            _, opcode, unique, node, _, _, _, _ = HEADER.unpack_from(request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self.answer(opcode, node, request[HEADER.size:])
            code, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
            try:
                os.write(self.device, struct.pack("<IiQ", 16 + len(data), code, unique) + data)
            except OSError as fault:
                if fault.errno != errno.ENOENT:  # nobody waits for it any more
                    raise

    def answer(self, opcode, node, body):
        """The body of the reply, or an errno."""
        if opcode == INIT:
            major, _, readahead, _ = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHHI28x", major, 31, readahead, BIG_WRITES | MAX_PAGES, 12, 10,
                               MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0)
        if opcode == LOOKUP:
            if body.rstrip(b"\0") != b"disk":
                return errno.ENOENT
            return struct.pack("<QQQQII", DISK, 0, EVER, EVER, 0, 0) + attributes(DISK, self.size)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", EVER, 0, 0) + attributes(node, self.size if node == DISK else 0)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            _, offset, length = struct.unpack_from("<QQI", body)
            return os.pread(self.image, length, offset)
        if opcode == WRITE:
            _, offset, length = struct.unpack_from("<QQI", body)
            return self.write(offset, body[40:40 + length])
        if opcode == FSYNC:
            os.write(self.record, struct.pack("<QQ", 0, 0))
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 0, 0, 0, 1, 0, 4096, 255, 4096, 0)
        if opcode in (FLUSH, RELEASE, RELEASEDIR, READDIR, ACCESS, DESTROY):
            return b""
        return errno.ENOSYS

    def write(self, offset, data):
        whole = struct.pack("<QQ", offset, len(data)) + data
        if os.write(self.record, whole) != len(whole) or \
           os.pwrite(self.image, data, offset) != len(data):
            return errno.EIO
        return struct.pack("<II", len(data), 0)


def main():
    image, mountpoint, record = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"disk", mountpoint.encode(), b"fuse", 0, options.encode()) != 0:
        sys.exit(f"mount {mountpoint}: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    Server(device, os.open(image, os.O_RDWR),
           os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)).serve()


if __name__ == "__main__":
    main()
