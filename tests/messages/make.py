#!/usr/bin/env python3
"""Messages that mimic real mail, and what must become of them.

messages()             yields (name, wire): the message as sent after DATA, before dot-stuffing and
                       without the final dot; the client ends the last line if it is not ended
expected(wire)         the body in the Maildir, below the header lines that the delivery adds
survives_postfix(wire) whether Postfix's smtpd and LMTP client carry it unchanged but for its header
stuffed(wire)          WIRE as it goes over the wire, with the final dot

The rules are written out here from the LMTP side (RFC 5321 section 4.5.2), on purpose without a look
at the C code. As a program: make.py FOLDER writes one file for each message, and its .expected.
"""

import base64
import os
import quopri
import random
import re
import sys
from email.charset import BASE64, Charset
from email.header import Header

CRLF = b"\r\n"
BIG = 20 * 1024 * 1024
LOOKED_AT = 1024 * 1024  # a Return-Path that ends behind this is left alone


def ended(wire):
    """The message with its last line ended, as every client sends it."""
    return wire + CRLF if wire and not wire.endswith(CRLF) else wire


def stuffed(wire):
    wire = ended(wire)
    if wire.startswith(b"."):
        wire = b"." + wire
    return wire.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def without_return_path(body):
    """Without the Return-Path fields at the top, continuation lines included."""
    field = re.compile(rb"return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)
    looked_at = body[:LOOKED_AT]
    at = 0
    while match := field.match(looked_at, at):
        if match.end() == len(looked_at) < len(body):
            break  # it may go on behind what is looked at
        if looked_at[match.end():match.end() + 1] in (b" ", b"\t"):
            break  # it does
        at = match.end()
    return body[at:]


def expected(wire):
    return without_return_path(ended(wire).replace(CRLF, b"\n"))


def survives_postfix(wire):
    """No NUL, no bare line ends, lines and header of a length that smtpd keeps, a header at all."""
    wire = ended(wire)
    if b"\0" in wire or re.search(rb"\r(?!\n)|(?<!\r)\n", wire):
        return False
    if any(len(line) > 900 for line in wire.split(CRLF)):
        return False
    header = wire.split(CRLF + CRLF, 1)[0]
    return CRLF + CRLF in wire and len(header) < 50000 and re.match(rb"[!-9;-~]+:", wire) is not None


def lines(*texts):
    """Each text (str: UTF-8) as a line."""
    return b"".join((t if isinstance(t, bytes) else t.encode("utf-8")) + CRLF for t in texts)


def header(subject, *more):
    subject = subject if isinstance(subject, bytes) else subject.encode("utf-8")
    return lines("From: Sender <someone@remote.test>", "To: heidi@example.com", b"Subject: " + subject,
                 "Date: Sat, 21 Nov 2026 12:00:00 +0000", "Message-ID: <%08x@remote.test>"
                 % (sum(subject) * 2654435761 % 2**32), "MIME-Version: 1.0", *more)


def encoded(text, charset, form):
    kind = Charset(charset)
    kind.header_encoding = form
    return Header(text, kind, maxlinelen=70).encode(linesep="\r\n").encode("ascii")


def base64_lines(data):
    text = base64.b64encode(data)
    return b"".join(text[at:at + 76] + CRLF for at in range(0, len(text), 76))


def part(boundary, kind, body, *more):
    return lines("--" + boundary, "Content-Type: " + kind, *more, "") + body


def deep_multipart(depth):
    top = header("deep parts", 'Content-Type: multipart/mixed; boundary="level-0"', "")
    before = b"".join(part(f"level-{n}", f'multipart/alternative; boundary="level-{n + 1}"', b"")
                      for n in range(depth))
    inside = part(f"level-{depth}", "text/plain; charset=utf-8", lines("in the deepest part: ½ × ½"),
                  "Content-Transfer-Encoding: 8bit")
    after = b"".join(lines(f"--level-{n}--", "") for n in range(depth, -1, -1))
    return top + before + inside + after


def newsletter():
    html = "<html><body>" + "".join(f"<p>Offer {n} &ndash; only today</p>" for n in range(200))
    return (header("=?utf-8?Q?Angebote_f=C3=BCr_Sie?=", "List-Id: <offers.remote.test>",
                   "List-Unsubscribe: <https://remote.test/out?u=1>,\r\n <mailto:out@remote.test>",
                   "Precedence: bulk",
                   'Content-Type: multipart/alternative; boundary="=_part"', "")
            + part("=_part", "text/plain; charset=utf-8", lines("Offers, as text."))
            + part("=_part", "text/html; charset=utf-8",
                   quopri.encodestring(html.encode()).replace(b"\n", CRLF) + CRLF,
                   "Content-Transfer-Encoding: quoted-printable")
            + lines("--=_part--"))


def bounce():
    return (lines("Return-Path: <>", "From: MAILER-DAEMON@remote.test (Mail Delivery System)",
                  "To: heidi@example.com", "Subject: Undelivered Mail Returned to Sender",
                  "Auto-Submitted: auto-replied", "MIME-Version: 1.0",
                  'Content-Type: multipart/report; report-type=delivery-status;', '\tboundary="B.1/x"', "")
            + part("B.1/x", "text/plain; charset=us-ascii", lines("I could not deliver it.", ""))
            + part("B.1/x", "message/delivery-status", lines(
                "Reporting-MTA: dns; mx.remote.test", "", "Final-Recipient: rfc822; x@other.test",
                "Action: failed", "Status: 5.1.1", ""))
            + part("B.1/x", "message/rfc822", header("the one that came back", "") + lines("text"))
            + lines("--B.1/x--"))


def signed():
    body = header("signed", "Content-Type: multipart/signed; micalg=pgp-sha256;",
                  '\tprotocol="application/pgp-signature"; boundary=s', "")
    return (body + part("s", "text/plain", lines("- -- ", "trailing blanks   ", "tab\t", ""))
            + part("s", "application/pgp-signature",
                   lines("-----BEGIN PGP SIGNATURE-----", "") + base64_lines(b"no real signature" * 20)
                   + lines("-----END PGP SIGNATURE-----"))
            + lines("--s--"))


def calendar():
    text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:Réunion\r\n" \
           "DESCRIPTION:" + "long " * 20 + "\r\n line\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    return (header("Invitation", "Content-Type: text/calendar; method=REQUEST; charset=utf-8",
                   "Content-Transfer-Encoding: base64", "") + base64_lines(text.encode()))


def huge_header():
    received = b"".join(
        lines(f"X-Received: from hop{n}.remote.test (hop{n}.remote.test [192.0.2.{n % 256}])",
              f"\tby hop{n + 1}.remote.test (MTA) with ESMTPS id {n:08X}",
              "\tfor <heidi@example.com>; Sat, 21 Nov 2026 12:00:00 +0000 (UTC)") for n in range(1000))
    spam = b"".join(lines(f"X-Score-{n}: " + "RULE_NAME=1.25, " * 40) for n in range(200))
    return received + spam + header("huge header", "") + lines("small body")


def all_bytes():
    return header("every byte but those of line ends", "") + b"".join(
        bytes(b for b in range(256) if b not in (10, 13)) + CRLF for _ in range(4))


def crlf_mixtures():
    ends = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\r\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n"]
    body = b"".join(b"line %d" % n + end for n, end in enumerate(ends * 2))
    near = b"\n.\n" + b"a\r\n.\n" + b"b\n.\r\n" + b"c\r.\r\n" + b"d\r\n.\re\r\n" + b"f\r\n..\r\n" + b".\r.\r\n"
    return header("line ends", "") + body + near


def big_attachment():
    """20 MB that do not compress, made anew each time, the same each time."""
    data = random.Random(2026).randbytes(BIG)
    return (header("the film", 'Content-Type: multipart/mixed; boundary="film"', "")
            + part("film", "text/plain", lines("See attachment.", ""))
            + part("film", "video/mp4", base64_lines(data), "Content-Transfer-Encoding: base64",
                   'Content-Disposition: attachment; filename="=?utf-8?B?w4l0w6kubXA0?="')
            + lines("--film--"))


def head_boundary():
    """A line end falls on each side of the first MiB, where a store may change from memory to disk."""
    start = header("a MiB and a little", "")
    stored = len(start.replace(CRLF, b"\n"))
    return start + b"x" * (1024 * 1024 - stored - 1) + b"\r\n.\r\r\n.more\r\n" + b"y" * 70000 + CRLF


def messages():
    quiet = header("quiet", "")
    yield "plain", header("plain", "") + lines("Hello,", "", "this is text.", "")
    yield "dots", header("dots", "") + lines(".", "..", "...", ".hidden", "a.", "", ".", "end")
    yield "dot-first", b".not a header\r\n.\r\n"
    yield "empty-body", quiet
    yield "only-header", quiet[:-2]
    yield "no-header", lines("", "The header is empty.")
    yield "no-header-at-all", lines("just some words", "and more")
    yield "empty", b""
    yield "one-line-end", CRLF
    yield "no-final-newline", quiet + b"the last line has no end"
    yield "utf8-header", header("Grüße aus Köln – 日本語 ✉", "X-Straße: ß", "Content-Type: text/plain; charset=utf-8",
                                "Content-Transfer-Encoding: 8bit", "") + lines("Körper", "本文")
    yield "latin1-header", header("Grüße".encode("latin-1"), "") + "fünf Öfen\r\n".encode("latin-1")
    yield "iso-2022-jp", (header(encoded("会議のお知らせと資料の送付について", "iso-2022-jp", BASE64),
                                 "Content-Type: text/plain; charset=iso-2022-jp", "")
                          + "明日の会議は十時からです。\r\n".encode("iso-2022-jp"))
    yield "iso-2022-jp-raw", header("お知らせ".encode("iso-2022-jp"), "") + "半角\r\n".encode("iso-2022-jp")
    yield "euc-kr", (header(encoded("회의 일정 안내", "euc-kr", BASE64),
                            "Content-Type: text/plain; charset=euc-kr",
                            "Content-Transfer-Encoding: 8bit", "") + "내일 열 시에 만납시다.\r\n".encode("euc-kr"))
    subject = base64.b64encode("关于春节放假安排的通知𠀀".encode("gb18030")).decode()
    yield "gb18030", (header(f"=?GB18030?B?{subject}?=", "Content-Type: text/plain; charset=gb18030",
                             "Content-Transfer-Encoding: 8bit", "") + "各位同事𠀀\r\n".encode("gb18030"))
    yield "utf-7", header("=?UTF-7?Q?+ZeVnLIqe-?=", "Content-Type: text/plain; charset=utf-7",
                          "") + "日本語 & + -\r\n".encode("utf-7")
    yield "koi8-r-windows-1251", (header("Привет".encode("koi8-r"), "X-Mailer: Почта".encode("cp1251"), "")
                                  + "Здравствуйте\r\n".encode("koi8-r"))
    yield "quoted-printable", (header("=?utf-8?Q?=E2=82=AC_=3D=3F_=5F?=",
                                      "Content-Transfer-Encoding: quoted-printable",
                                      "Content-Type: text/plain; charset=utf-8", "")
                               + lines("soft=", "break", "=3D=", ".", "=", "=20", "trailing blank=20",
                                       "From=20here", "=2E", "lower=c3=a4", "bad=ZZ", "=0D=0A"))
    yield "base64", (header("numbers", "Content-Type: application/octet-stream; name=x.bin",
                            "Content-Transfer-Encoding: base64", "") + base64_lines(bytes(range(256)) * 40))
    yield "deep-multipart", deep_multipart(60)
    yield "newsletter", newsletter()
    yield "bounce", bounce()
    yield "signed", signed()
    yield "calendar", calendar()
    yield "forwarded", (header("Fwd: old", 'Content-Type: message/rfc822', "")
                        + header("old", "Delivered-To: someone-else@remote.test", "") + lines("inside"))
    yield "folded", (header("a\r\n very\r\n\tlong\r\n subject", "X-Empty:", "X-Blank: ", "X-Folded-Empty:\r\n ",
                            "Message-ID:\r\n <folded@remote.test>", "") + lines("x"))
    yield "mbox", lines("From someone@remote.test  Sat Nov 21 12:00:00 2026") + header("mbox", "") + lines(
        "From the start of a line", ">From quoted", "From ", "")
    yield "return-path", lines("Return-Path: <forged@remote.test>") + header("forged", "") + lines("x")
    yield "return-path-folded", (lines("return-PATH :", "\t<forged@remote.test>", " more", "Return-Path: <again@x>")
                                 + header("forged twice", "Return-Path: <stays@remote.test>", "") + lines("x"))
    yield "return-path-only", b"Return-Path: <forged@remote.test>\r\n"
    yield "delivered-to", (lines("Delivered-To: heidi@example.com", "X-Original-To: heidi@example.com",
                                 "Return-Path: <stays@remote.test>") + header("been here", "")
                           + lines("A foreign Delivered-To is no loop."))
    yield "many-received", huge_header()
    yield "long-lines", header("long lines", "") + b"x" * 998 + CRLF + b"y" * 3000 + CRLF + lines("", "end")
    yield "mega-line", header("one line", "") + b"z" * (1024 * 1024 + 12345) + CRLF + lines(".", "end")
    yield "mega-header", header("X", "X-Mega: " + "m" * (1024 * 1024 + 99), "") + lines("body")
    yield "mega-return-path", (b"Return-Path: <a@b>" + b"\r\n " .join([b""] + [b"f" * 900] * 1200) + CRLF
                               + header("too long to be looked at", "") + lines("body"))
    yield "at-the-mib", head_boundary()
    yield "nul", header("NUL \0 in the header", "") + b"\0\r\na\0b\r\n\0\0\0\r\n" + b"\0" * 5000 + CRLF
    yield "bare-cr", header("bare CR", "") + b"a\rb\r\rc\r\r\r\n\r.\r\nend\r\r\n"
    yield "bare-lf", header("bare LF", "") + b"a\nb\n\nc\n.\nd\n..\ne\r\n"
    yield "bare-lf-header", b"From: a@b\nSubject: LF only\nTo: c@d\n\nbody\n"
    yield "crlf-mixtures", crlf_mixtures()
    yield "all-bytes", all_bytes()
    yield "controls", header("\x01\x02\x1b[31mred\x07 \x7f", "") + bytes(range(1, 10)) + b"\x0b\x0c\x0e\x1a" + CRLF
    yield "blanks", header("blanks", "") + lines("   ", "\t", " x ", "", "", "") + CRLF * 50
    yield "attachment-20mb", big_attachment()


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, wire in messages():
        for path, data in ((name + ".wire", stuffed(wire)), (name + ".expected", expected(wire))):
            with open(os.path.join(folder, path), "wb") as out:
                out.write(data)


if __name__ == "__main__":
    main()
