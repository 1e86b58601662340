"""Messages that mimic real mail arrive byte for byte, S= and W= are exact, and IMAP reads them."""

import os
import re
import sys

from rig import TOP
from rig.dialogue import Dialogue
from rig.dovecot import Dovecot
from rig.host import Host
from rig.process import wait_for

sys.path.insert(0, os.path.join(TOP, "tests", "messages"))
import make  # noqa: E402

SANITIZED = ("address", "thread")

ADDED = re.compile(rb"\A(?:(?:Return-Path|X-Original-To|Delivered-To): [^\n]*\n)+")
NAME = re.compile(r",S=(\d+),W=(\d+)")


def stuffed(wire):
    return (b"." + wire if wire.startswith(b".") else wire).replace(b"\r\n.", b"\r\n..")


def new_file(host, before):
    def look():
        fresh = set(host.messages("heidi@example.com")) - before
        return fresh.pop() if fresh else None
    return wait_for("the message", look)


def virtual_size(data):
    return len(data) + len(re.findall(rb"(?<!\r)\n", data))


def check_file(path, body):
    with open(path, "rb") as message:
        data = message.read()
    size, wire_size = map(int, NAME.search(path).groups())
    assert size == len(data), f"S={size}, the file has {len(data)}"
    assert wire_size == virtual_size(data), f"W={wire_size}, not {virtual_size(data)}"
    added = ADDED.match(data)
    assert added, data[:200]
    assert added.group(0).startswith(b"Return-Path: <someone@remote.test>\n"), added.group(0)
    assert b"Delivered-To: heidi@example.com\n" in added.group(0)
    if data[added.end():] != body and body.startswith(b"Return-Path:"):
        body = body.split(b"\n", 1)[1]  # an existing one at the top is replaced
    stored = data[len(data) - len(body):] if len(body) <= len(data) else data
    assert stored == body, f"{path}: {first_difference(stored, body)}"
    return data


def first_difference(a, b):
    for index, (one, other) in enumerate(zip(a, b)):
        if one != other:
            return f"at {index}: {a[index - 20:index + 20]!r} for {b[index - 20:index + 20]!r}"
    return f"lengths {len(a)} and {len(b)}"


def test_by_lmtp_byte_for_byte():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False) as host:
        count = 0
        for name, wire in make.messages():
            before = set(host.messages("heidi@example.com"))
            with Dialogue(f"{host.sockets}/lmtp") as dialogue:
                dialogue.expect(220, None)
                dialogue.expect(250, "LHLO client.example.test")
                dialogue.expect(250, "MAIL FROM:<someone@remote.test> BODY=8BITMIME")
                dialogue.expect(250, "RCPT TO:<heidi@example.com>")
                dialogue.expect(354, "DATA")
                dialogue.send(stuffed(wire) + (b"" if wire.endswith(b"\r\n") or not wire else b"\r\n")
                              + b".\r\n")
                dialogue.expect(250, None)
            check_file(new_file(host, before), make.expected(wire))
            count += 1
        assert count >= 25, count
        assert not os.listdir(os.path.join(host.maildir("heidi@example.com"), "tmp"))


def imap_equals_disk(host):
    users = {"heidi": ("imap-password", host.maildir("heidi@example.com"))}
    dovecot = Dovecot(host.folder, users, "nobody", "nogroup")
    try:
        dovecot.start()
        client = dovecot.imap("heidi", "imap-password")
        paths = host.messages("heidi@example.com")
        kind, selected = client.select("INBOX", readonly=True)
        assert kind == "OK" and int(selected[0]) == len(paths), selected
        want = sorted(as_crlf(path) for path in paths)
        got = []
        for number in range(1, len(paths) + 1):
            _, data = client.fetch(str(number), "(RFC822.SIZE BODY.PEEK[])")
            header, body = data[0]
            assert int(re.search(rb"RFC822.SIZE (\d+)", header).group(1)) == len(body)
            got.append(body)
        got.sort()
        for one, other in zip(got, want):
            assert one == other, first_difference(one, other)
        client.logout()
        with open(f"{host.folder}/dovecot/dovecot.log", encoding="utf-8") as log:
            text = log.read()
        assert "Error" not in text and "Corrupted" not in text and "Panic" not in text, text[-2000:]
    finally:
        dovecot.stop()


def as_crlf(path):
    """What IMAP shows: every line end as CRLF; Dovecot shows NUL as 0x80."""
    with open(path, "rb") as message:
        return re.sub(rb"(?<!\r)\n", b"\r\n", message.read()).replace(b"\0", b"\x80")


def test_through_postfix_to_imap():
    """Real smtpd and its LMTP client carry them; NUL, bare line ends and over-long lines are theirs."""
    with Host("sqlite", "4.x", main="smtp_line_length_limit = 0\nlmtp_line_length_limit = 0\n"
              "header_size_limit = 10000000\nline_length_limit = 100000\n") as host:
        count = 0
        for name, wire in make.messages():
            if not make.survives_postfix(wire):
                continue
            before = set(host.messages("heidi@example.com"))
            with Dialogue(host.postfix.smtp_port) as dialogue:
                dialogue.expect(220, None)
                dialogue.expect(250, "EHLO client.example.test")
                dialogue.expect(250, "MAIL FROM:<someone@remote.test> BODY=8BITMIME SMTPUTF8")
                dialogue.expect(250, "RCPT TO:<heidi@example.com>")
                dialogue.expect(354, "DATA")
                dialogue.send(stuffed(wire) + (b"" if wire.endswith(b"\r\n") or not wire else b"\r\n")
                              + b".\r\n")
                dialogue.expect(250, None)
            path = new_file(host, before)
            with open(path, "rb") as message:
                data = message.read()
            body = make.expected(wire).split(b"\n\n", 1)[-1]
            assert data.endswith(body), f"{name}: {data[-200:]!r}"
            size, wire_size = map(int, NAME.search(path).groups())
            assert (size, wire_size) == (len(data), virtual_size(data)), name
            count += 1
        assert count >= 15, count
        host.postfix.wait_empty()
        assert "status=bounced" not in host.postfix.log()
        imap_equals_disk(host)


def test_pipe_agent():
    """The same delivery as a pipe(8) transport."""
    with Host("sqlite", "4.x", main="virtual_transport = deliver\n"
              "deliver_destination_recipient_limit = 1\n") as host:
        with Dialogue(host.postfix.smtp_port) as dialogue:
            dialogue.expect(220, None)
            dialogue.expect(250, "EHLO client.example.test")
            dialogue.expect(250, "MAIL FROM:<someone@remote.test>")
            for recipient in ("heidi@example.com", "c1+tag@example.com", "erin@example.org"):
                dialogue.expect(250, f"RCPT TO:<{recipient}>")
            dialogue.expect(354, "DATA")
            dialogue.message(b"Subject: pipe\r\n\r\n.dot\r\nFrom here\r\n")
            dialogue.expect(250, None)
        wait_for("three deliveries", lambda: all(
            len(host.messages(address)) == 1
            for address in ("heidi@example.com", "alice@example.com", "erin@example.org")))
        host.postfix.wait_empty()
        with open(host.messages("heidi@example.com")[0], "rb") as message:
            data = message.read()
        assert data.startswith(b"Return-Path: <someone@remote.test>\n"), data
        assert data.endswith(b"\n\n.dot\nFrom here\n"), data
        # Trouble on our side is a deferral, never a bounce, and goes away with its cause.
        os.rename(host.mail, host.mail + ".away")
        with Dialogue(host.postfix.smtp_port) as dialogue:
            dialogue.expect(220, None)
            dialogue.expect(250, "EHLO client.example.test")
            dialogue.expect(250, "MAIL FROM:<someone@remote.test>")
            dialogue.expect(250, "RCPT TO:<heidi@example.com>")
            dialogue.expect(354, "DATA")
            dialogue.message(b"Subject: later\r\n\r\nlater\r\n")
            dialogue.expect(250, None)
        wait_for("a deferral", lambda: "status=deferred" in host.postfix.log())
        os.rename(host.mail + ".away", host.mail)
        host.postfix.wait_empty()
        assert len(host.messages("heidi@example.com")) == 2
        assert "status=bounced" not in host.postfix.log()
