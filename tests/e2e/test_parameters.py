"""Every main.cf parameter of the map list, where a message or a dialogue turns on its answer."""

import os
import tempfile

from rig.dialogue import Dialogue, auth_plain, send
from rig.host import Host
from rig.process import wait_for
from rig.sink import Sink, make_certificate

LOOKUP = "socketmap:unix:postern/lookup"
STRANGERS = "mynetworks = 192.0.2.255\n"
NO_ADDRESS = "inline:{ { nobody@invalid = x } }"
BODY = b"From: someone@remote.test\r\nSubject: parameters\r\n\r\nhello\r\n"
STRANGER = "someone@remote.test"
ALICE, HEIDI, ERIN = "alice@example.com", "heidi@example.com", "erin@example.org"

MAILBOX = """
INSERT INTO mailbox (username, password, name, maildir, local_part, domain)
 VALUES ('{local}@{domain}', 'x', '', '{domain}/{local}/', '{local}', '{domain}');
"""


def parameters(*names):
    return "".join(f"{name} = {LOOKUP}:{name}\n" for name in names)


def codes(host, *recipients, sender=STRANGER):
    """The reply code to each recipient, nothing sent."""
    with Dialogue(host.postfix.smtp_port) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, "EHLO client.example.test")
        dialogue.expect(250, f"MAIL FROM:<{sender}>")
        return [dialogue.command(f"RCPT TO:<{recipient}>")[:3] for recipient in recipients]


def mail(host, recipient, sender=STRANGER, code="250"):
    answer = send(host.postfix.smtp_port, sender, [recipient], BODY)[recipient]
    assert answer.startswith(code), (sender, recipient, answer)


def delivered(host, address, count=1):
    wait_for(f"{count} messages to {address}", lambda: len(host.messages(address)) >= count)
    assert len(host.messages(address)) == count


def settled(host):
    """All that was accepted has gone where it belongs."""
    host.postfix.wait_empty()
    log = host.postfix.log()
    assert "status=bounced" not in log and "status=expired" not in log, log[-3000:]


RELAYED = ("454", "554")


def test_domains_and_their_mailboxes():
    """virtual_mailbox_domains and virtual_mailbox_maps, without aliases that would hide them."""
    with Host("sqlite", "default", main=STRANGERS + "virtual_alias_maps =\n") as host:
        assert codes(host, "first@fresh.test")[0] in RELAYED
        assert codes(host, "dave@closed.test")[0] in RELAYED
        # smtpd remembers what it has resolved, so the second look is for another address.
        host.sql("INSERT INTO domain (domain, description, transport) VALUES ('fresh.test', '', '');"
                 + MAILBOX.format(local="first", domain="fresh.test")
                 + MAILBOX.format(local="second", domain="fresh.test"))
        assert codes(host, "second@fresh.test", "third@fresh.test") == ["250", "550"]
        assert codes(host, ALICE, "Alice+Tag@EXAMPLE.com", '"heidi"@example.com', "sales@example.com",
                     "bob@example.com", "zzz@example.org") == ["250"] * 3 + ["550"] * 3
        mail(host, "second@fresh.test")
        mail(host, "Heidi+Tag@example.com")
        delivered(host, "second@fresh.test")
        delivered(host, HEIDI)
        host.sql("UPDATE mailbox SET active = 0 WHERE username = 'heidi@example.com';")
        assert codes(host, HEIDI) == ["550"]
        settled(host)


def test_aliases():
    """virtual_alias_maps, with no mailbox known to smtpd: who is let in, and where it goes."""
    with Host("sqlite", "default",
              main=STRANGERS + f"virtual_mailbox_maps = {NO_ADDRESS}\n"
              "default_transport = discard:\n") as host:
        assert codes(host, "c1@example.com", "zzz@example.org", "info@example.com", "new@example.com",
                     "nobody@example.net", "c1@example.net") == ["250", "250", "550", "550", "550", "250"]
        host.sql("INSERT INTO alias (address, goto, domain)"
                 f" VALUES ('new@example.com', '{HEIDI}, {ERIN}', 'example.com');")
        mail(host, "New+Tag@example.com")
        delivered(host, HEIDI)
        delivered(host, ERIN)
        with open(host.messages(HEIDI)[0], encoding="utf-8") as message:
            assert "Delivered-To: heidi+Tag@example.com" in message.read()
        mail(host, "c1@example.net")  # alias of an alias, in an alias domain
        mail(host, "zzz+tag@example.org")  # catch-all
        mail(host, "nobody@old.test", code="250")  # the whole domain goes elsewhere
        delivered(host, ALICE, 2)
        mail(host, "cmd@example.com", code="451")  # a command as target: PERM, and mail waits
        host.postfix.wait_empty()
        bounced = [line for line in host.postfix.log().splitlines() if "status=bounced" in line]
        assert len(bounced) == 1 and "to=<nobody@example.com>, orig_to=<nobody@old.test>" in bounced[0]


def test_relaying():
    """relay_domains and relay_recipient_maps."""
    with Sink() as inside, Host(
            "sqlite", "default", daemons=("lookup", "policy"),
            main=STRANGERS + parameters("relay_recipient_maps")
            + f"relay_transport = smtp:{inside.nexthop}\n") as host:
        assert codes(host, "x@backup.test", "X+tag@Relay.Test") == ["250", "250"]
        assert all(code in RELAYED for code in codes(host, "x@nowhere.test", "x@sub.backup.test"))
        mail(host, "any@backup.test")
        host.sql("INSERT INTO alias (address, goto, domain)"
                 " VALUES ('known@backup.test', 'known@backup.test', 'backup.test');")
        assert codes(host, "known@backup.test", "known+tag@backup.test", "other@backup.test",
                     "x@relay.test") == ["250", "250", "550", "250"]
        mail(host, "Known+Tag@backup.test")
        wait_for("both messages", lambda: len(inside.messages) == 2)
        assert inside.recipients() == ["any@backup.test", "known+Tag@backup.test"]
        host.sql("UPDATE domain SET active = 0 WHERE domain = 'relay.test';")
        assert codes(host, "y@relay.test")[0] in RELAYED
        settled(host)


def test_transports():
    """transport_maps: by address, by domain, never by a parent domain or `*`."""
    with Sink() as user, Sink() as domain, Sink() as rest, Host(
            "sqlite", "default",
            main=f"default_transport = smtp:{rest.nexthop}\n") as host:
        host.sql(f"UPDATE domain SET transport = 'smtp:{domain.nexthop}' WHERE domain = 'imap2.test';"
                 f"UPDATE mailbox SET x_host = 'smtp:{user.nexthop}' WHERE username = '{HEIDI}';")
        for recipient in (HEIDI, "Heidi+Tag@example.com", ALICE, "judy@imap2.test",
                          "judy+tag@IMAP2.test", "x@sub.imap2.test", "x@elsewhere.test"):
            mail(host, recipient)
        settled(host)
        delivered(host, ALICE)
        assert user.recipients() == ["heidi+Tag@example.com", HEIDI], user.recipients()
        assert domain.recipients() == ["judy+tag@imap2.test", "judy@imap2.test"]
        assert rest.recipients() == ["x@elsewhere.test", "x@sub.imap2.test"]
        host.sql("UPDATE domain SET transport = 'virtual' WHERE domain = 'imap2.test';")
        mail(host, "judy@imap2.test")
        delivered(host, "judy@imap2.test")


def test_sender_logins():
    with Host("sqlite", "default") as host:
        host.sql("INSERT INTO alias (address, goto, domain)"
                 f" VALUES ('team@example.com', '{HEIDI}', 'example.com');")

        def senders(*names):
            with Dialogue(host.postfix.submission_port) as dialogue:
                dialogue.expect(220, None)
                dialogue.expect(250, "EHLO client.example.test")
                assert auth_plain(dialogue, ALICE, "alice-password").startswith("235")
                for name in names:
                    dialogue.expect(250, f"MAIL FROM:<{name}>")
                    yield dialogue.command("RCPT TO:<erin@example.org>")[:3]
                    dialogue.expect(250, "RSET")

        assert list(senders(ALICE, "Alice+Tag@Example.com", "alice@example.net", "c1@example.com",
                            "sales@example.com")) == ["250"] * 5
        assert list(senders(HEIDI, "team@example.com", "x@example.org", "info@example.com",
                            STRANGER)) == ["553"] * 5
        host.sql(f"UPDATE alias SET goto = '{HEIDI}, {ALICE}' WHERE address = 'team@example.com';")
        assert list(senders("team@example.com", "Team+Tag@example.com")) == ["250", "250"]


def test_copies():
    """recipient_bcc_maps and sender_bcc_maps."""
    with Sink() as outside, Host(
            "sqlite", "default", main=parameters("recipient_bcc_maps", "sender_bcc_maps")
            + f"default_transport = smtp:{outside.nexthop}\n") as host:

        def copies(sender, recipient):
            outside.messages.clear()
            mail(host, recipient, sender)
            settled(host)
            return outside.recipients()

        assert copies(STRANGER, ALICE) == ["archive@remote.test"]
        assert copies(STRANGER, "Alice+Tag@example.com") == ["archive@remote.test"]
        assert copies(STRANGER, HEIDI) == ["all@remote.test"]  # her own row is inactive
        assert copies(STRANGER, ERIN) == []
        assert copies(ALICE, ERIN) == ["sent@remote.test"]
        assert copies("Alice+Tag@example.com", ALICE) == ["archive@remote.test", "sent@remote.test"]
        assert copies("anybody@example.org", "frank@example.org") == ["sent-org@remote.test"]
        assert copies("", ERIN) == []
        delivered(host, ALICE, 3)
        delivered(host, HEIDI)
        delivered(host, ERIN, 3)
        mail(host, "judy@imap2.test", code="451")  # two addresses are none, and mail waits


def test_relay_hosts_of_senders():
    """sender_dependent_relayhost_maps."""
    with Sink() as own, Sink() as domain, Sink() as null, Sink() as rest, Host(
            "sqlite", "default", daemons=("lookup", "policy"),
            main=parameters("sender_dependent_relayhost_maps")
            + f"default_transport = smtp\nrelayhost = {rest.nexthop}\n") as host:
        host.sql("DELETE FROM x_relayhost WHERE active = 1 AND relayhost <> 'DUNNO';"
                 "INSERT INTO x_relayhost (address, relayhost, active) VALUES"
                 f" ('{ALICE}', '{own.nexthop}', 1), ('@example.org', '{domain.nexthop}', 1);")
        mail(host, "null1@remote.test", "")
        settled(host)
        host.sql("INSERT INTO x_relayhost (address, relayhost, active)"
                 f" VALUES ('<>', '{null.nexthop}', 1);")
        for sender, recipient in ((ALICE, "own1"), ("Alice+Tag@EXAMPLE.com", "own2"),
                                  ("alice@example.net", "own3"), (ERIN, "domain1"),
                                  ("who@example.org", "domain2"), ("frank@example.org", "rest1"),
                                  (HEIDI, "rest2"), (STRANGER, "rest3"), ("", "null2")):
            mail(host, f"{recipient}@remote.test", sender)
        settled(host)
        assert own.recipients() == [f"own{i}@remote.test" for i in (1, 2, 3)]
        assert domain.recipients() == [f"domain{i}@remote.test" for i in (1, 2)]
        assert rest.recipients() == ["null1@remote.test"] + [f"rest{i}@remote.test" for i in (1, 2, 3)]
        assert null.recipients() == ["null2@remote.test"]


def destination(host, key, kind, value):
    host.sql(f"DELETE FROM x_destination WHERE destination = '{key}' AND kind = '{kind}';"
             "INSERT INTO x_destination (destination, kind, value, active)"
             f" VALUES ('{key}', '{kind}', '{value}', 1);")


def names_of_hosts(host, *names):
    """Of 127.0.0.1, for daemons in the chroot."""
    folder = os.path.join(host.postfix.queue, "etc")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "hosts"), "w", encoding="ascii") as out:
        out.write(f"127.0.0.1 localhost {' '.join(names)}\n")


def test_passwords_for_other_hosts():
    """smtp_sasl_password_maps: by next-hop, by host, by sender; the wrong one makes mail wait."""
    logins = {"isp": "pass:word 1", "host": "host-password", "alice": "alice-at-isp"}
    with Sink(logins=logins) as isp, Host(
            "sqlite", "default", daemons=("lookup", "policy"), chroot=True,
            main=parameters("smtp_sasl_password_maps")
            + f"default_transport = smtp:{isp.nexthop}\nsmtp_sasl_auth_enable = yes\n"
            "smtp_sasl_security_options = noanonymous\nsmtp_sender_dependent_authentication = yes\n"
            ) as host:
        names_of_hosts(host, "mail.isp.test")
        host.sql("DELETE FROM x_destination;"
                 f"UPDATE domain SET transport = 'smtp:[mail.isp.test]:{isp.port}'"
                 " WHERE domain = 'relay.test';")
        mail(host, "one@remote.test")
        wait_for("a deferral", lambda: "log in first" in host.postfix.log())
        destination(host, isp.nexthop, "smtp_sasl_password", "isp:wrong")
        host.postfix.wait_flushing("a refused login", lambda: isp.refused)
        assert not isp.messages
        destination(host, isp.nexthop, "smtp_sasl_password", "isp:pass:word 1")
        settled(host)
        destination(host, "mail.isp.test", "smtp_sasl_password", "host:host-password")
        destination(host, ALICE, "smtp_sasl_password", "alice:alice-at-isp")
        mail(host, "two@relay.test")
        mail(host, "three@remote.test", ALICE)
        settled(host)
        assert {message.recipients[0]: message.login for message in isp.messages} == {
            "one@remote.test": ("isp", "pass:word 1"), "two@relay.test": ("host", "host-password"),
            "three@remote.test": ("alice", "alice-at-isp")}


def test_tls_policies():
    """smtp_tls_policy_maps: what the next-hop's row says, or that of a parent domain."""
    with tempfile.TemporaryDirectory() as folder, Sink() as plain, \
         Sink(certificate=make_certificate(folder)) as tls, Host(
             "sqlite", "default", daemons=("lookup", "policy"), chroot=True,
             main=parameters("smtp_tls_policy_maps") + "default_transport = smtp\n"
             f"smtp_tcp_port = {tls.port}\nsmtp_tls_security_level = may\n") as host:
        names_of_hosts(host, "mail.isp.test", "bank.test")
        host.sql("DELETE FROM x_destination;"
                 f"UPDATE domain SET transport = 'smtp:{plain.nexthop}' WHERE domain = 'relay.test';"
                 f"UPDATE domain SET transport = 'smtp:{tls.nexthop}' WHERE domain = 'imap2.test';")
        mail(host, "before@relay.test")
        settled(host)
        destination(host, plain.nexthop, "smtp_tls_policy", "encrypt")
        mail(host, "after@relay.test")
        wait_for("a deferral", lambda: "TLS is required, but was not offered" in host.postfix.log())
        assert plain.recipients() == ["before@relay.test"]
        destination(host, plain.nexthop, "smtp_tls_policy", "may")
        settled(host)
        assert plain.recipients() == ["after@relay.test", "before@relay.test"]

        def encrypted(recipient):
            tls.messages.clear()
            mail(host, recipient)
            settled(host)
            return [message.encrypted for message in tls.messages]

        assert encrypted("judy@imap2.test") == [True]
        destination(host, tls.nexthop, "smtp_tls_policy", "none")
        assert encrypted("judy@imap2.test") == [False]
        assert encrypted("x@mail.isp.test") == [True]
        destination(host, ".isp.test", "smtp_tls_policy", "none")
        assert encrypted("x@mail.isp.test") == [False]
        assert encrypted("x@bank.test") == [True]
