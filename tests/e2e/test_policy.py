"""policyd behind real smtpd: a limit for each login, and mailboxes over quota."""

from rig.dialogue import Dialogue, auth_plain, send
from rig.host import Host
from rig.process import wait_for

SANITIZED = ("thread",)

BODY = b"From: alice@example.com\r\nSubject: limit\r\n\r\nhello\r\n"


def submit(host, login, password, recipients):
    """The reply to DATA or to the message."""
    with Dialogue(host.postfix.submission_port) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, "EHLO client.example.test")
        assert auth_plain(dialogue, login, password).startswith("235")
        dialogue.expect(250, f"MAIL FROM:<{login}>")
        for recipient in recipients:
            answer = dialogue.command(f"RCPT TO:<{recipient}>")
            if not answer.startswith("250"):
                return answer
        answer = dialogue.command("DATA")
        if answer.startswith("354"):
            dialogue.message(BODY)
            answer = dialogue.reply()
        dialogue.expect(221, "QUIT")
        return answer


def test_recipients_per_login():
    limit = {"limit outbound": {"key": "sasl_user", "count": "recipients", "max": "5",
                                "window": "1h", "verdict": "defer"}}
    with Host("sqlite", "4.x", settings=limit) as host:
        alice = ("alice@example.com", "alice-password")
        heidi = ("heidi@example.com", "pass word{}")
        three = [f"erin+{number}@example.org" for number in range(3)]
        assert submit(host, *alice, three).startswith("250")
        assert submit(host, *alice, three).startswith("450 4.7.1"), "3 + 3 > 5"
        assert submit(host, *alice, three[:2]).startswith("250"), "what was refused is not charged"
        assert submit(host, *alice, three[:1]).startswith("450")
        assert submit(host, "ALICE@example.com", alice[1], three[:1]).startswith("450"), \
            "the same account in other letters"
        assert submit(host, *heidi, three).startswith("250"), "another login has its own count"
        answers = send(host.postfix.smtp_port, "someone@remote.test", three + ["alice@example.com"] * 4,
                       BODY)
        assert all(answer.startswith("250") for answer in answers.values()), \
            "without a login nothing is charged"
        assert "rule=outbound action=defer" in host.daemons["policy"].log()


def test_policyd_away_does_not_stop_mail():
    """The generated default_action=DUNNO: a dead helper refuses nothing."""
    with Host("sqlite", "4.x") as host:
        host.daemons["policy"].kill()
        answers = send(host.postfix.smtp_port, "someone@remote.test", ["alice@example.com"], BODY)
        assert answers["alice@example.com"].startswith("250"), answers
        host.daemons["policy"].start()


def test_mailbox_over_quota():
    """Alice has 100 MiB; her published usage says that they are nearly full."""
    with Host("sqlite", "4.x", settings={"policy": {"quota_grace": "0"}}) as host:
        address = "alice@example.com"
        assert send(host.postfix.smtp_port, "x@remote.test", [address], BODY)[address].startswith("250")
        host.postfix.wait_empty()
        host.sql("REPLACE INTO quota2 (username, bytes, messages) "
                 "VALUES ('alice@example.com', 104857601, 10);")
        for recipient in (address, "Alice+Tag@example.com", "alice@example.net"):
            answers = send(host.postfix.smtp_port, "x@remote.test", [recipient], BODY)
            assert answers[recipient].startswith("552 5.2.2"), answers
        for recipient in ("heidi@example.com", "sales@example.com", "zzz@example.org"):
            answers = send(host.postfix.smtp_port, "x@remote.test", [recipient], BODY)
            expected = "552" if recipient != "heidi@example.com" else "250"
            # sales has one usable mailbox, and so has the catch-all of example.org: alice's
            assert answers[recipient][:3] in (expected, "250"), answers
        host.sql("UPDATE quota2 SET bytes = 104857600 - 1000000 WHERE username = 'alice@example.com';")
        with Dialogue(host.postfix.smtp_port) as dialogue:
            dialogue.expect(220, None)
            dialogue.expect(250, "EHLO client.example.test")
            dialogue.expect(250, "MAIL FROM:<x@remote.test> SIZE=900000")
            dialogue.expect(250, f"RCPT TO:<{address}>")
            dialogue.expect(250, "RSET")
            dialogue.expect(250, "MAIL FROM:<x@remote.test> SIZE=2000000")
            dialogue.expect(552, f"RCPT TO:<{address}>")
        wait_for("the log line", lambda: "rule=mailbox_quota action=reject" in host.daemons["policy"].log())
