"""SMTP AUTH and submission through real smtpd, chrooted and not, with every road to the database."""

from rig.dialogue import Dialogue, auth_login, auth_plain, send
from rig.host import Host
from rig.process import wait_for

SANITIZED = ("address",)

PASSWORD = {"alice@example.com": "alice-password", "heidi@example.com": "pass word{}",
            "carol@example.com": "carol-password", "bob@example.com": "bob-password",
            "dave@closed.test": "dave-password"}
GOOD = ("alice@example.com", "heidi@example.com")
REFUSED = ("bob@example.com", "dave@closed.test")
BARRED = "carol@example.com"  # by smtp_active, which only the 4.x layout has


def attempt(host, method, login, password, **options):
    with Dialogue(host.postfix.submission_port) as dialogue:
        dialogue.expect(220, None)
        answer = dialogue.expect(250, "EHLO client.example.test")
        assert "AUTH" in answer and "PLAIN" in answer and "LOGIN" in answer, answer
        return method(dialogue, login, password, **options)


def submission(host):
    for method in (auth_plain, auth_login):
        for login in GOOD:
            assert attempt(host, method, login, PASSWORD[login]).startswith("235")
            assert attempt(host, method, login, "not the password").startswith("535")
            assert attempt(host, method, login, PASSWORD[login].upper()).startswith("535")
        for login in (*REFUSED, BARRED) if host.layout == "4.x" else REFUSED:
            assert attempt(host, method, login, PASSWORD[login]).startswith("535"), login
        for login in ("nobody@example.com", "nobody@nowhere.test", "o'brien", "' OR '1'='1",
                      "alice@example.com' --", "%u", "alice"):
            assert attempt(host, method, login, "x").startswith("535"), login
    login = "alice@example.com"
    assert attempt(host, auth_plain, login, PASSWORD[login], authzid=login).startswith("235")
    assert attempt(host, auth_plain, login, PASSWORD[login],
                   authzid="erin@example.org").startswith("535")
    assert attempt(host, auth_plain, login, "").startswith("535")
    assert attempt(host, auth_plain, "Alice@Example.COM", PASSWORD[login]).startswith("235")
    session(host, login)


def session(host, login):
    with Dialogue(host.postfix.submission_port) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, "EHLO client.example.test")
        dialogue.expect(250, f"MAIL FROM:<{login}>")
        dialogue.expect(553, "RCPT TO:<ext@example.com>")  # not logged in
        dialogue.expect(250, "RSET")
        assert auth_plain(dialogue, login, PASSWORD[login]).startswith("235")
        dialogue.expect(250, "MAIL FROM:<heidi@example.com>")
        dialogue.expect(553, "RCPT TO:<erin@example.org>")  # somebody else's address
        dialogue.expect(250, "RSET")
        dialogue.expect(250, f"MAIL FROM:<{login}>")
        dialogue.expect(550, "RCPT TO:<nobody@example.com>")
        dialogue.expect(250, "RCPT TO:<erin@example.org>")
        dialogue.expect(354, "DATA")
        dialogue.message(b"From: alice@example.com\r\nSubject: submission\r\n\r\nhello\r\n")
        dialogue.expect(250, None)
        # Through alias and tag, as the sales alias too: she reads it, so she may send as it.
        dialogue.expect(250, "MAIL FROM:<sales@example.com>")
        dialogue.expect(250, "RCPT TO:<erin+tag@example.org>")
        dialogue.expect(354, "DATA")
        dialogue.message(b"Subject: as sales\r\n\r\nhello\r\n")
        dialogue.expect(250, None)
        dialogue.expect(221, "QUIT")
    wait_for("both messages", lambda: len(host.messages("erin@example.org")) == 2)
    text = "".join(open(path, encoding="utf-8").read() for path in host.messages("erin@example.org"))
    assert "Return-Path: <alice@example.com>" in text and "Return-Path: <sales@example.com>" in text
    assert "Delivered-To: erin+tag@example.org" in text


def test_plugin_on_sqlite():
    with Host("sqlite", "4.x") as host:
        submission(host)


def test_plugin_on_mariadb_in_the_chroot():
    with Host("mysql", "4.x", chroot=True) as host:
        submission(host)


def test_plugin_on_mariadb():
    with Host("mysql", "3.3") as host:
        submission(host)


def test_saslauthd_in_the_chroot():
    with Host("sqlite", "4.x", chroot=True, auth="saslauthd") as host:
        submission(host)


def test_saslauthd():
    with Host("mysql", "4.x", auth="saslauthd") as host:
        submission(host)


def test_inbound_from_outside():
    """What a stranger's server sees on port 25."""
    with Host("sqlite", "4.x", main="mynetworks = 192.0.2.255\n") as host:
        answers = send(host.postfix.smtp_port, "someone@remote.test",
                       ["alice@example.com", "C1+Tag@example.com", "alice@example.net",
                        "zzz@example.org", "nobody@example.com", "bob@example.com",
                        "dave@closed.test", "info@example.com", "someone@elsewhere.test"],
                       b"From: someone@remote.test\r\nSubject: hi\r\n\r\nhello\r\n")
        for recipient, code in (("alice@example.com", "250"), ("C1+Tag@example.com", "250"),
                                ("alice@example.net", "250"), ("zzz@example.org", "250"),
                                ("nobody@example.com", "550"), ("bob@example.com", "550"),
                                ("info@example.com", "550"), ("dave@closed.test", "454"),
                                ("someone@elsewhere.test", "454")):
            if code == "454":  # relaying: Postfix says 554 or, by default in 3.x, 454
                assert answers[recipient][:3] in ("454", "554"), answers
            else:
                assert answers[recipient].startswith(code), answers
        wait_for("four deliveries", lambda: len(host.messages("alice@example.com")) >= 4)
        host.postfix.wait_empty()
        assert "status=bounced" not in host.postfix.log()
