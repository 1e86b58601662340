"""Postfix's own load generator, through Postfix's LMTP client with and without its header flags."""

import re

from rig import ledger
from rig.host import Host
from rig.process import check, wait_for

COUNT = 200
HEADERS = (b"Return-Path", b"X-Original-To", b"Delivered-To")


def fields(path):
    with open(path, "rb") as message:
        head = message.read().split(b"\n\n", 1)[0]
    return {name: re.findall(rb"^%s: *(.*)$" % name, head, re.MULTILINE | re.IGNORECASE)
            for name in HEADERS}


def load(host, address):
    check(["smtp-source", "-s", "8", "-m", str(COUNT), "-l", "3000", "-f", "someone@remote.test",
           "-t", address, f"inet:127.0.0.1:{host.postfix.smtp_port}"])


def arrived(host, want):
    """What is in the mailbox of alice, to whom everything goes."""
    wait_for("all messages", lambda: len(host.messages("alice@example.com")) >= want, 60)
    host.postfix.wait_empty()
    log = host.postfix.log()
    for status in ("bounced", "deferred"):
        assert f"status={status}" not in log, [line for line in log.splitlines()
                                               if f"status={status}" in line][:3]
    paths = host.messages("alice@example.com")
    assert len(paths) == want, f"{len(paths)} messages, not {want}"
    ledger.check_quota_file(host.maildir("alice@example.com"))
    assert not ledger.debris(host.mail)
    return paths


def test_smtp_source():
    with Host("sqlite", "4.x", settings={"log": {"level": "warning"}}) as host:
        load(host, "alice@example.com")
        for path in arrived(host, COUNT):
            found = fields(path)
            assert found[b"Return-Path"] == [b"<someone@remote.test>"], found
            assert found[b"Delivered-To"] == [b"alice@example.com"], found


def test_smtp_source_with_all_header_flags():
    """D, O and R of Postfix's client put in the same fields: that is no loop."""
    with Host("sqlite", "4.x", settings={"log": {"level": "warning"}},
              main="virtual_transport = flagged:unix:postern/lmtp\n"
                   "flagged_destination_recipient_limit = 1\n",
              master="flagged unix - - n - 50 lmtp\n  flags=DORX\n") as host:
        load(host, "c1@example.com")
        for path in arrived(host, COUNT):
            found = fields(path)
            assert found[b"Return-Path"] == [b"<someone@remote.test>"], found
            assert found[b"Delivered-To"] == [b"alice@example.com"], found
            assert found[b"X-Original-To"] == [b"c1@example.com"], found
