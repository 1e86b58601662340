"""What clients were told about the messages that they sent, compared with what lies in Maildirs."""

import collections
import hashlib
import os
import re
import threading

NAME = re.compile(r",S=(\d+),W=(\d+)(?::2,[A-Za-z]*)?\Z")
ID = re.compile(rb"^Message-ID: <(\S+)@proof\.test>$", re.MULTILINE)
ADDED = re.compile(rb"\A(?:(?:Return-Path|X-Original-To|Delivered-To|Received): [^\n]*\n"
                   rb"(?:[ \t][^\n]*\n)*)+")


def message(identifier, size=600):
    """The message of that name, CRLF lines: every byte follows from the name and the size."""
    head = (f"From: someone@remote.test\r\nMessage-ID: <{identifier}.{size}@proof.test>\r\n"
            "Subject: proof\r\n\r\n").encode()
    line = hashlib.sha256(identifier.encode()).hexdigest().encode() + b"\r\n"
    return head + line * max(1, (size - len(head)) // len(line)) + b".end\r\n"


def whole(data):
    """The name of the message that DATA, a stored file, is; fails unless every byte is there."""
    found = ID.search(data)
    added = ADDED.match(data)
    if not found or not added:
        raise AssertionError(f"no message: {len(data)} bytes, {data[:200]!r}")
    identifier, size = found.group(1).decode().rsplit(".", 1)
    if data[added.end():] != message(identifier, int(size)).replace(b"\r\n", b"\n"):
        raise AssertionError(f"{identifier} is not whole: {len(data)} bytes")
    return identifier


def present(maildir):
    """
    {name of message: number of copies} of all folders. Fails on anything in new/ or cur/ that is
    not a whole message with right S= and W=.
    """
    counts = collections.Counter()
    for path, _ in files(maildir):
        with open(path, "rb") as file:
            data = file.read()
        try:
            counts[whole(data)] += 1
        except AssertionError as fault:
            raise AssertionError(f"{path}: {fault}") from None
        sizes = NAME.search(path)
        wire_size = len(data) + len(re.findall(rb"(?<!\r)\n", data))
        if not sizes or tuple(map(int, sizes.groups())) != (len(data), wire_size):
            raise AssertionError(f"{path} has {len(data)} bytes, {wire_size} with CRLF")
    return counts


def files(maildir):
    """(path, size) of every message."""
    found = []
    folders = [""]
    if os.path.isdir(maildir):
        folders += [name for name in os.listdir(maildir)
                    if name.startswith(".") and os.path.isdir(os.path.join(maildir, name))]
    for folder in folders:
        for sub in ("new", "cur"):
            directory = os.path.join(maildir, folder, sub)
            if os.path.isdir(directory):
                found += [(os.path.join(directory, name),
                           os.path.getsize(os.path.join(directory, name)))
                          for name in os.listdir(directory)]
    return found


def debris(maildir):
    """What is left in tmp/ of every folder."""
    return [os.path.join(where, name) for where, _, names in os.walk(maildir)
            if os.path.basename(where) == "tmp" for name in names]


def quota_file(maildir):
    """(first line, bytes, messages) as maildirsize says."""
    with open(os.path.join(maildir, "maildirsize"), encoding="ascii") as text:
        first, *lines = text.read().splitlines()
    changes = [tuple(map(int, line.split())) for line in lines]
    return first, sum(change[0] for change in changes), sum(change[1] for change in changes)


def check_quota_file(maildir):
    """Fails unless maildirsize is what a recount says."""
    sizes = [size for _, size in files(maildir)]
    first, used_bytes, used_messages = quota_file(maildir)
    if (used_bytes, used_messages) != (sum(sizes), len(sizes)):
        raise AssertionError(f"{maildir}/maildirsize ({first}) says {used_bytes} bytes in "
                             f"{used_messages} messages, there are {sum(sizes)} in {len(sizes)}")


class Ledger:
    """What was sent to one mailbox. Used by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged, self.refused, self.unknown = set(), set(), set()
        self.said = {}  # name of a refused message: the reply

    def note(self, identifier, reply):
        """REPLY: the last one as text; None when none was read."""
        with self.lock:
            if reply is None:
                self.unknown.add(identifier)
            elif reply.startswith("2"):
                self.acknowledged.add(identifier)
            else:
                self.refused.add(identifier)
                self.said[identifier] = reply

    def check(self, maildir):
        """Acknowledged is there, once; refused is not; otherwise only what was sent, once a try."""
        counts = present(maildir)
        lost = self.acknowledged - set(counts)
        if lost:
            raise AssertionError(f"{maildir}: {len(lost)} acknowledged messages of "
                                 f"{len(self.acknowledged)} are lost: {sorted(lost)[:5]}")
        wrong = (self.refused - self.unknown - self.acknowledged) & set(counts)
        if wrong:
            raise AssertionError(f"{maildir}: stored though refused: {sorted(wrong)[:5]}")
        twice = {name for name, count in counts.items() if count > 1} - self.unknown
        if twice:
            raise AssertionError(f"{maildir}: twice though acknowledged: {sorted(twice)[:5]}")
        strange = set(counts) - self.acknowledged - self.unknown
        if strange:
            raise AssertionError(f"{maildir}: nobody sent {sorted(strange)[:5]}")
        return counts
