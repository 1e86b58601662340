"""The LMTP server behind a real Postfix: queue ids in the log, SMTPUTF8, chunks by hand."""

import re

from rig.dialogue import Dialogue, send
from rig.host import Host, program
from rig.process import run, wait_for

SANITIZED = ("address",)

HEIDI = "heidi@example.com"


def body_of(path):
    with open(path, "rb") as message:
        return message.read()


def test_queue_id_in_the_log():
    """With lmtp_send_xforward_command = yes, one id leads from smtpd to the Maildir."""
    with Host("sqlite", "4.x", main="lmtp_send_xforward_command = yes\n") as host:
        answers = send(host.postfix.smtp_port, "someone@remote.test", [HEIDI, "erin@example.org"],
                       b"Subject: x\r\nMessage-ID: <1@remote.test>\r\n\r\nhello\r\n")
        host.postfix.wait_empty()
        queue_id = re.search(r"queued as (\w+)", answers[HEIDI]).group(1)
        lines = [line for line in host.daemons["lmtp"].log().splitlines()
                 if f"queue-id={queue_id} " in line and " delivered " in f" {line}"]
        assert len(lines) == 2, host.daemons["lmtp"].log_tail()
        assert all("message-id=<1@remote.test>" in line for line in lines), lines


def test_smtputf8():
    """Addresses and a header in UTF-8 come through Postfix and end in the Maildir as they were."""
    subject = "Subject: Grüße an 花子".encode()
    sender = "jürgen@remote.test"
    with Host("sqlite", "4.x") as host:
        host.sql("INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain,"
                 " created, modified, active) SELECT 'björn@example.com', password, name,"
                 " 'example.com/björn/', quota, 'björn', domain, created, modified, active"
                 f" FROM mailbox WHERE username = '{HEIDI}';")
        answers = send(host.postfix.smtp_port, sender, ["björn@example.com", HEIDI],
                       subject + b"\r\n\r\nhello\r\n")
        assert all(answer.startswith("250") for answer in answers.values()), answers
        host.postfix.wait_empty()
        assert "status=bounced" not in host.postfix.log()
        for address in ("björn@example.com", HEIDI):
            data = body_of(host.messages(address)[0])
            assert data.startswith(f"Return-Path: <{sender}>\n".encode()), data
            assert f"Delivered-To: {address}\n".encode() in data, data
            assert b"\n" + subject + b"\n" in data, data


def test_chunks():
    """A client that uses BDAT, as Exim and others do."""
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False) as host:
        with Dialogue(f"{host.sockets}/lmtp") as dialogue:
            dialogue.expect(220, None)
            assert "CHUNKING" in dialogue.expect(250, "LHLO client.example.test")
            dialogue.expect(250, "MAIL FROM:<someone@remote.test>")
            dialogue.expect(250, f"RCPT TO:<{HEIDI}>")
            dialogue.expect(550, "RCPT TO:<nobody@example.com>")
            dialogue.expect(250, "RCPT TO:<erin@example.org>")
            dialogue.send(b"BDAT 13\r\nSubject: x\r\n\rBDAT 8 LAST\r\n\n.\r\n..\r\n")
            dialogue.expect(250, None)
            dialogue.expect("250 2.0.0 <heidi", None)
            dialogue.expect("250 2.0.0 <erin", None)
            dialogue.expect(221, "QUIT")
        data = body_of(wait_for("a message", lambda: host.messages(HEIDI))[0])
        assert data.endswith(b"Subject: x\n\n.\n..\n"), data


def test_tcp_without_users_is_refused():
    """A listener on TCP where nobody may deliver: the start fails and says what to set."""
    with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
        host.sections["lmtp"]["listen"] = "127.0.0.1:2424"
        host.write_config()
        done = run([program("lmtp-deliver"), "-c", host.config_path, "--check"])
        assert done.returncode == 78, done
        assert "auth_users" in done.stderr, done.stderr
