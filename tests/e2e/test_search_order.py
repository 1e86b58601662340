"""
The same rows in a fixed-type table and in our database, the same addresses through two real
Postfixes: the one searches its texthash table in its own order, the other asks us once. Both must
do the same, except where we differ on purpose; each test names those addresses and both outcomes.
"""

import contextlib
import os
import re

from rig.dialogue import Dialogue, auth_plain
from rig.host import MAIN, Host
from rig.postfix import Postfix
from rig.process import wait_for

# Where a message goes is said by the transport's next-hop, and nothing is really delivered.
SAME = """\
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
smtpd_data_restrictions =
virtual_transport = discard:mailbox
relay_transport = discard:relay
default_transport = discard:outside
"""
NO_ADDRESS = "inline:{ { nobody@invalid = x } }"
FOUND = "250"


@contextlib.contextmanager
def both(tables, main="", prepare=""):
    """
    Yields a host and the other Postfix, whose parameters are tables: {name: rows(host)}. PREPARE is
    SQL for the database before.
    """
    with Host("sqlite", "default", daemons=("lookup",), main=SAME + main) as host:
        host.sql(prepare)
        folder = os.path.join(host.folder, "other")
        os.mkdir(folder, 0o755)
        lookup = f"socketmap:unix:{host.sockets}/lookup"
        parameters = "".join(f"{name} = texthash:{folder}/{name}\n" for name in tables)
        other = Postfix(folder, env=host.postfix.env,
                        main=MAIN.format(lookup=lookup) + SAME + main + parameters)
        for name, rows in tables.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as table:
                table.writelines(f"{key} {value}\n" for key, value in rows(host))
        with open(f"{host.postfix.folder}/sasl/smtpd.conf", encoding="utf-8") as sasl:
            other.write("sasl/smtpd.conf", sasl.read())
        try:
            yield host, other.start()
        finally:
            other.stop()


def select(host, query):
    return [line.split("|", 1) for line in host.sql(query).splitlines()]


def quoted(address):
    """As Postfix's tables have it."""
    local, _, domain = address.rpartition("@")
    return f'"{local}"@{domain}' if " " in local else address


def deliveries(postfix, queue_id):
    """
    {(final recipient, next-hop)} of a message that has left the queue; None: it is still there.
    Which case a next-hop has is chance: messages to one host share a queue.
    """
    lines = [line for line in postfix.log().splitlines() if f" {queue_id}: " in line]
    if not lines or not lines[-1].endswith(": removed"):
        return None
    found = [re.search(r": to=<(.*?)>, .*status=(\w+) \((.*)\)$", line) for line in lines]
    return {(match.group(1), match.group(3).lower()) if match.group(2) == "sent" else match.group(2)
            for match in found if match}


def outcomes(postfix, addresses):
    """
    {address: the code that refused it, or where the message to it went}; an address may be
    "sender recipient" as well.
    """
    found, queued = {}, {}
    with Dialogue(postfix.smtp_port) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, "EHLO client.example.test")
        for address in addresses:
            sender, recipient = address.split(" ") if address.count("@") == 2 else ("", address)
            dialogue.expect(250, f"MAIL FROM:<{sender}>")
            found[address] = dialogue.command(f"RCPT TO:<{recipient}>")[:3]
            if found[address] == "250":
                dialogue.expect(354, "DATA")
                dialogue.message(b"Subject: search order\r\n\r\nhello\r\n")
                answer = dialogue.reply()
                found[address] = answer[:3]
                if answer.startswith("250"):
                    queued[address] = answer.split()[-1]
            else:
                dialogue.expect(250, "RSET")
    for address, queue_id in queued.items():
        found[address] = wait_for(f"the message to {address}",
                                  lambda queue_id=queue_id: deliveries(postfix, queue_id))
    return found


def compare(others, ours, differences):
    """DIFFERENCES: {address: (the other's outcome, ours)}."""
    wrong = []
    for address, outcome in ours.items():
        expected = differences.get(address)
        if expected is None and outcome != others[address]:
            wrong.append(f"{address}: texthash {others[address]}, we {outcome}")
        elif expected is not None and (others[address], outcome) != expected:
            wrong.append(f"{address}: texthash {others[address]}, we {outcome}, not {expected}")
    assert not wrong, "\n".join(wrong)
    assert set(differences) <= set(ours)


def mailbox(*addresses):
    return {(address, "mailbox") for address in addresses}


def outside(address):
    return {(address, "outside")}


def test_virtual_alias_maps():
    def rows(host):
        for address, members in select(host, "SELECT address, goto FROM alias WHERE active = 1"
                                             " AND goto <> '' AND address <> 'Grace@Example.com'"):
            yield quoted(address), members
        for domain, target in select(host, "SELECT alias_domain, target_domain FROM alias_domain"):
            yield f"@{domain}", f"@{target}"

    addresses = (
        "alice@example.com", "Alice+News@EXAMPLE.com", "alice+@example.com", '"alice"@example.com',
        "alice+a+b@example.com", "alice++@example.com", "+alice@example.com",
        "alice@example.net", "Alice+News@Example.Net", "sales@example.com", "Sales+T@Example.com",
        "sales@example.net", "sales+t@example.net", "sales+@example.com",
        "erin@example.org", "erin+x@example.org", "zzz@example.org", "zzz+y@example.org",
        "ZZZ+Y@Example.ORG", '"z z+y"@example.org', "list+owner@example.com", "List+Owner@example.com",
        "list@example.com", "list+x@example.com", "list+owner+x@example.com", "o'brien@example.com",
        "carol@example.com", "carol+v@example.com", "ext@example.com", "Ext+A@example.com",
        "c1@example.com", "c1+tag@example.com", "c2@example.com", "loop1@example.com",
        "rootish@example.com", "rootish+x@example.com", "info@example.com", "info+x@example.com",
        "nobody@example.com", "bob@example.com", "alice@old.test", "Alice+X@old.test", "zz+x@old.test",
        "x@empty.test", "x@sub.example.com", "x@elsewhere.test", '"a b"@example.com',
        '"A B+Tag"@example.com', '"a b+c d"@example.com', '"two words"@example.com',
        '"two words+x y"@example.com', "frank@example.org", "frank+a@example.org", "gone@example.org",
        "gone+x@example.org", "nobody@example.net", "heidi+x@example.net", "cmd@example.com",
        "empty@example.com")
    prepare = ("INSERT INTO alias (address, goto, domain, active) VALUES"
               " ('a b@example.com', 'alice@example.com', 'example.com', 1),"
               " ('two words@example.com', 'erin@example.org, x@elsewhere.test', 'example.com', 1),"
               " ('gone@example.org', 'heidi@example.com', 'example.org', 0);")
    differences = {
        # A mailbox needs no row that leads to itself, and no catch-all takes its mail.
        "frank@example.org": (mailbox("alice@example.com"), mailbox("frank@example.org")),
        "frank+a@example.org": (mailbox("alice@example.com"), mailbox("frank+a@example.org")),
        # An inactive row ends the search before the catch-all.
        "gone@example.org": (mailbox("alice@example.com"), "550"),
        "gone+x@example.org": (mailbox("alice@example.com"), "550"),
        # Nobody exists in an alias domain who does not exist in its target.
        "nobody@example.net": (mailbox("nobody@example.com"), "550"),
        # A command is no target: mail waits until the row is right.
        "cmd@example.com": (outside("|/bin/true@example.test"), "451"),
    }
    with both({"virtual_alias_maps": rows}, f"virtual_mailbox_maps = {NO_ADDRESS}\n"
              "smtpd_reject_unlisted_recipient = yes\n", prepare) as (host, other):
        compare(outcomes(other, addresses), outcomes(host.postfix, addresses), differences)


def test_virtual_mailbox_maps():
    def rows(host):
        return select(host, "SELECT username, maildir FROM mailbox WHERE active = 1 AND maildir <> ''"
                            " AND username <> 'Grace@Example.com'")

    addresses = (
        "alice@example.com", "Alice+News@EXAMPLE.com", "alice+@example.com", '"alice"@example.com',
        "alice+a+b@example.com", "+alice@example.com", "list+owner@example.com", "List+Owner@example.com",
        "list@example.com", "list+owner+x@example.com", "o'brien@example.com", "o'brien+x@example.com",
        "bob@example.com", "sales@example.com", "nobody@example.com", "zzz@example.org",
        "frank@example.org", "heidi+x@example.com", "judy@imap2.test", '"hei di"@example.com',
        "alice@example.net", "Alice+News@Example.Net")
    differences = {
        # A mailbox is known by the alias domains of its domain as well.
        "alice@example.net": ("550", mailbox("alice@example.net")),
        "Alice+News@Example.Net": ("550", mailbox("Alice+News@Example.Net")),
    }
    with both({"virtual_mailbox_maps": rows}, "virtual_alias_maps =\ntransport_maps =\n"
              "smtpd_reject_unlisted_recipient = yes\n") as (host, other):
        compare(outcomes(other, addresses), outcomes(host.postfix, addresses), differences)


def test_transport_maps():
    def rows(host):
        yield from select(host, "SELECT username, x_host FROM mailbox WHERE x_host <> ''")
        yield from select(host, "SELECT domain, transport FROM domain"
                                " WHERE transport NOT IN ('', 'virtual') AND active = 1")

    addresses = (
        "heidi@example.com", "Heidi+X@EXAMPLE.com", "heidi+@example.com", '"heidi"@example.com',
        "alice@example.com", "nobody+x@example.com", "list+owner@example.com", "List+Owner+X@example.com",
        "list@example.com", "list+x@example.com", "judy@imap2.test", "Judy+X@IMAP2.test",
        "nobody@imap2.test", "x@sub.imap2.test", "x@imap2.test.elsewhere.test", "x@relay.test",
        "x@sub.relay.test", "x@elsewhere.test", "x@nulltr.test", "x@closed.test", "x@backup.test",
        "heidi@example.net")
    prepare = ("UPDATE mailbox SET x_host = 'discard:heidi' WHERE username = 'heidi@example.com';"
               "UPDATE mailbox SET x_host = 'discard:owner' WHERE username = 'list+owner@example.com';"
               "UPDATE domain SET transport = 'discard:imap2' WHERE domain = 'imap2.test';"
               "UPDATE domain SET transport = 'discard:relayed' WHERE domain = 'relay.test';")
    differences = {
        # A mailbox keeps its host in the alias domains of its domain.
        "heidi@example.net": (mailbox("heidi@example.net"), {("heidi@example.net", "heidi")}),
    }
    with both({"transport_maps": rows},
              "virtual_alias_maps =\nsmtpd_reject_unlisted_recipient = no\n", prepare) as (host, other):
        compare(outcomes(other, addresses), outcomes(host.postfix, addresses), differences)


def may_send(postfix, senders):
    """{sender: the code for alice, logged in}."""
    found = {}
    with Dialogue(postfix.submission_port) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, "EHLO client.example.test")
        assert auth_plain(dialogue, "alice@example.com", "alice-password").startswith("235")
        for sender in senders:
            dialogue.expect(250, f"MAIL FROM:<{sender}>")
            found[sender] = dialogue.command("RCPT TO:<erin@example.org>")[:3]
            dialogue.expect(250, "RSET")
    return found


def test_smtpd_sender_login_maps():
    def rows(host):
        logins = dict(select(host, "SELECT address, goto FROM alias WHERE active = 1 AND goto <> ''"
                                   " AND address <> 'Grace@Example.com'"))
        logins.update(select(host, "SELECT username, username FROM mailbox WHERE active = 1"
                                   " AND username <> 'Grace@Example.com'"))
        for domain, target in select(host, "SELECT alias_domain, target_domain FROM alias_domain"):
            logins[f"@{domain}"] = f"@{target}"
        return ((quoted(address), login) for address, login in logins.items())

    senders = (
        "alice@example.com", "Alice+X@EXAMPLE.com", "alice+@example.com", '"alice"@example.com',
        "alice+a+b@example.com", "sales@example.com", "Sales+T@example.com", "jose@example.com",
        "c2@example.com", "c2+x@example.com", '"a b"@example.com', '"A B+x"@example.com',
        "heidi@example.com", "heidi+alice@example.com", "erin@example.org", "frank@example.org",
        "list+owner@example.com", "list@example.com", "info@example.com", "ext@example.com",
        "nobody@example.com", "someone@remote.test", "loop1@example.com", "carol@example.com",
        "c1@example.com", "alice@example.net", "Sales+T@example.net", "zzz@example.org",
        "zzz+y@example.org")
    prepare = ("INSERT INTO alias (address, goto, domain) VALUES"
               " ('a b@example.com', 'alice@example.com', 'example.com');")
    differences = {
        # Through aliases of aliases, and in the alias domains.
        "c1@example.com": ("553", FOUND),
        "alice@example.net": ("553", FOUND),
        "Sales+T@example.net": ("553", FOUND),
        # Reading a catch-all is no right to send as everybody.
        "zzz@example.org": (FOUND, "553"),
        "zzz+y@example.org": (FOUND, "553"),
    }
    with both({"smtpd_sender_login_maps": rows}, prepare=prepare) as (host, other):
        compare(may_send(other, senders), may_send(host.postfix, senders), differences)


def test_relay_domains_and_their_recipients():
    def domains(host):
        return select(host, "SELECT domain, 'x' FROM domain WHERE active = 1"
                            " AND (backupmx = 1 OR transport LIKE 'smtp:%')")

    def recipients(host):
        yield from select(host, "SELECT address, goto FROM alias WHERE active = 1 AND goto <> ''"
                                " AND domain = 'relay.test'")
        yield "@backup.test", "no rows, so all are taken"

    addresses = ("x@backup.test", "X+Y@Backup.Test", "known@relay.test", "Known+X@RELAY.test",
                 "known+@relay.test", "kno@relay.test", "other@relay.test", "gone@relay.test",
                 '"known"@relay.test', "x@elsewhere.test", "x@test", "x@sub.backup.test",
                 "x@deep.sub.relay.test")
    prepare = ("INSERT INTO alias (address, goto, domain, active) VALUES"
               " ('known@relay.test', 'known@relay.test', 'relay.test', 1),"
               " ('gone@relay.test', 'gone@relay.test', 'relay.test', 0);")
    differences = {
        # Postfix itself takes the parents for relay_domains ([lookup] relay_subdomains = yes).
        "x@sub.backup.test": ("550", outside("x@sub.backup.test")),
        "x@deep.sub.relay.test": ("550", outside("x@deep.sub.relay.test")),
    }
    with both({"relay_domains": domains, "relay_recipient_maps": recipients},
              "relay_recipient_maps = socketmap:unix:postern/lookup:relay_recipient_maps\n"
              "virtual_alias_maps =\ntransport_maps =\nsmtpd_reject_unlisted_recipient = yes\n",
              prepare) as (host, other):
        compare(outcomes(other, addresses), outcomes(host.postfix, addresses), differences)
        host.sections["lookup"]["relay_subdomains"] = "yes"
        host.write_config()
        host.daemons["lookup"].stop()
        host.daemons["lookup"].start()
        # Other addresses, because smtpd remembers.
        later = {"y@sub.backup.test": {("y@sub.backup.test", "relay")}, "y@deep.sub.relay.test": "550"}
        assert outcomes(host.postfix, later) == later


def test_copies_and_relay_hosts():
    def copies(side):
        return lambda host: select(
            host, f"SELECT address, TRIM(target) FROM x_bcc WHERE side = '{side}' AND active = 1"
                  " AND target NOT LIKE '%,%'")

    def relay_hosts(host):
        return select(host, "SELECT address, relayhost FROM x_relayhost WHERE active = 1")

    addresses = (
        "alice@example.com", "Alice+X@EXAMPLE.com", "heidi@example.com", "nobody+x@example.com",
        "erin@example.org", "partner@elsewhere.test", "Partner+X@Elsewhere.test", "frank@example.org",
        "alice@example.com erin@example.org", "Alice+X@Example.COM erin@example.org",
        "Erin+X@Example.org erin@example.org", "someone@remote.test erin@example.org",
        "alice@example.com out@remote.test", "Alice+X@Example.COM out@remote.test",
        "heidi@example.com out@remote.test", "zzz+x@Example.org out@remote.test",
        "frank@example.org out@remote.test", "frank+x@example.org out@remote.test",
        "me@elsewhere.test out@remote.test", "x@sub.example.org out@remote.test",
        "someone@remote.test out@remote.test", "out@remote.test",
        "alice@example.net", "alice@example.net out@remote.test", "dave@closed.test",
        "dave@closed.test out@remote.test")
    differences = {
        # What holds for a mailbox or a domain holds in its alias domains.
        "alice@example.net": (mailbox("alice@example.net"), mailbox("alice@example.net")
                              | {("archive@remote.test", "remote.test")}),
        "alice@example.net out@remote.test": (
            {("out@remote.test", "remote.test")},
            {("out@remote.test", "[smtp.isp.test]:587"),
             ("sent@remote.test", "[smtp.isp.test]:587")}),
        # An inactive domain has no copies and no relay host.
        "dave@closed.test": ({("dave@closed.test", "closed.test"),
                              ("archive@remote.test", "remote.test")},
                             {("dave@closed.test", "closed.test")}),
        "dave@closed.test out@remote.test": ({("out@remote.test", "relay.isp.test")},
                                             {("out@remote.test", "remote.test")}),
    }
    names = {"recipient_bcc_maps": copies("recipient"), "sender_bcc_maps": copies("sender"),
             "sender_dependent_relayhost_maps": relay_hosts}
    main = "".join(f"{name} = socketmap:unix:postern/lookup:{name}\n" for name in names)
    with both(names, main + "virtual_alias_maps =\ntransport_maps =\ndefault_transport = discard\n"
              "smtpd_reject_unlisted_recipient = no\n") as (host, other):
        compare(outcomes(other, addresses), outcomes(host.postfix, addresses), differences)
