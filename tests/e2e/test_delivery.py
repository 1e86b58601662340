"""What becomes of a message behind the LMTP dialogue: many recipients, quotas, folders, loops, the
guard against second copies, and mail that belongs to its user."""

import os
import sqlite3
import stat

from rig.dialogue import Dialogue
from rig.host import Host
from rig.process import wait_for

SANITIZED = ("address", "thread")

BODY = b"From: a@remote.test\r\nMessage-ID: <one@remote.test>\r\nSubject: one\r\n\r\nHello\r\n"
HEIDI = "heidi@example.com"


def lmtp_host(users=0, **settings):
    host = Host("sqlite", "4.x", settings=settings, daemons=("lmtp",), postfix=False)
    with sqlite3.connect(host.sqlite_path) as database:
        for number in range(users):
            database.execute(
                "INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain,"
                " active) VALUES (?, '', '', ?, 0, ?, 'example.com', 1)",
                (address(number), f"example.com/many{number}/", f"many{number}"))
    return host


def address(number):
    return f"many{number}@example.com"


def change(host, statement, *values):
    with sqlite3.connect(host.sqlite_path) as database:
        assert database.execute(statement, values).rowcount == 1


class Client(Dialogue):
    """Behind LHLO."""

    def __init__(self, host):
        super().__init__(f"{host.sockets}/lmtp")
        self.expect(220, None)
        self.expect(250, "LHLO client.example.test")

    def transaction(self, recipients, body=BODY, queue_id=None):
        """The replies for each recipient after the dot."""
        if queue_id:
            self.expect(250, f"XFORWARD IDENT={queue_id}")
        self.expect(250, "MAIL FROM:<sender@remote.test>")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")
        self.expect(354, "DATA")
        self.message(body)
        return [self.reply() for _ in recipients]


def folder_files(host, recipient, folder):
    try:
        return os.listdir(os.path.join(host.maildir(recipient), folder, "new"))
    except FileNotFoundError:
        return []


def test_many_recipients_and_one_broken():
    """One whose Maildir cannot be made disturbs nobody; replies come in the order of RCPT."""
    count, broken = 130, 77
    with lmtp_host(count) as host:
        os.makedirs(os.path.join(host.mail, "example.com"), exist_ok=True)
        os.chmod(os.path.join(host.mail, "example.com"), 0o777)
        with open(os.path.join(host.mail, "example.com", f"many{broken}"), "w", encoding="ascii"):
            pass
        with Client(host) as client:
            replies = client.transaction([address(number) for number in range(count)])
            for number, reply in enumerate(replies):
                assert reply.startswith("451 4.2.0" if number == broken else "250 2.0.0"), reply
                assert f"<{address(number)}>" in reply, reply
            client.expect(221, "QUIT")
        for number in range(count):
            if number != broken:
                assert len(host.messages(address(number))) == 1, number


def test_equal_recipients_get_a_copy_each():
    with lmtp_host() as host, Client(host) as client:
        assert all(reply.startswith("250")
                   for reply in client.transaction([HEIDI, HEIDI, HEIDI], queue_id="4Equal"))
        client.expect(250, "NOOP")
        assert len(host.messages(HEIDI)) == 3


def test_lost_reply_makes_no_second_copy():
    with lmtp_host() as host:
        def deliver(body=BODY, queue_id="4Lost", goes_on=False):
            with Client(host) as client:
                reply, = client.transaction([HEIDI], body, queue_id)
                assert reply.startswith("250 2.0.0"), reply
                if goes_on:
                    client.expect(221, "QUIT")

        deliver()
        assert len(host.messages(HEIDI)) == 1
        deliver()  # Postfix sends it again, because it never got the reply
        assert len(host.messages(HEIDI)) == 1
        deliver(BODY + b"more\r\n")
        assert len(host.messages(HEIDI)) == 2
        deliver(queue_id="4Other", goes_on=True)
        deliver(queue_id="4Other", goes_on=True)  # the reply was read: somebody means it
        assert len(host.messages(HEIDI)) == 4


def test_guard_can_be_off():
    with lmtp_host(lmtp={"guard": "0"}) as host:
        for count in (1, 2):
            with Client(host) as client:
                client.transaction([HEIDI], queue_id="4Off")
            assert len(host.messages(HEIDI)) == count


def test_loop():
    with lmtp_host(lmtp={"max_hops": "30"}) as host, Client(host) as client:
        hop = b"Received: from a by b; Sat, 21 Nov 2026 12:00:00 +0000\r\n"
        reply, = client.transaction([HEIDI], hop * 30 + BODY)
        assert reply.startswith("554 5.4.6"), reply
        reply, = client.transaction([HEIDI], hop * 29 + BODY)
        assert reply.startswith("250"), reply


def test_folders():
    with lmtp_host(lmtp={"folders": "create", "folder_max": "3"}) as host, Client(host) as client:
        for folder, name in (("Lists", ".Lists"), ("lists", ".Lists"),
                             ("Entwürfe", ".Entw&APw-rfe"), ("a.b", ".a.b")):
            client.expect(250, "MAIL FROM:<> SMTPUTF8")
            client.expect(250, f"RCPT TO:<heidi+{folder}@example.com>")
            client.expect(354, "DATA")
            before = len(folder_files(host, HEIDI, name))
            client.message(BODY)
            client.expect(250, None)
            assert len(folder_files(host, HEIDI, name)) == before + 1, (folder, os.listdir(host.maildir(HEIDI)))
        # No more than three; what is no folder's name goes into the INBOX.
        for number, folder in enumerate(("Fourth", "..", "a..b", ".")):
            reply, = client.transaction([f"heidi+{folder}@example.com"])
            assert reply.startswith("250"), reply
            assert len(folder_files(host, HEIDI, "")) == number + 1, folder
        with open(os.path.join(host.maildir(HEIDI), "subscriptions"), encoding="utf-8") as source:
            text = source.read()
        assert "Lists" in text and "Entw&APw-rfe" in text, text


def usage(host, recipient):
    with open(os.path.join(host.maildir(recipient), "maildirsize"), encoding="ascii") as source:
        lines = source.read().splitlines()
    sums = [tuple(map(int, line.split())) for line in lines[1:]]
    return sum(size for size, _ in sums), sum(count for _, count in sums)


def test_quota():
    with lmtp_host(quota={"warn": "50 90"}) as host, Client(host) as client:
        change(host, "UPDATE mailbox SET quota = 10000 WHERE username = ?", HEIDI)
        for expected in ("250", "250", "452 4.2.2"):
            reply, = client.transaction([HEIDI], BODY + b"x" * 3900 + b"\r\n")
            assert reply.startswith(expected), reply
        # Two and the warning that the second one caused.
        files = host.messages(HEIDI)
        assert len(files) == 3
        assert usage(host, HEIDI) == (sum(os.path.getsize(name) for name in files), 3)
        warnings = [text for text in map(read, files) if b"Auto-Submitted: auto-generated" in text]
        assert len(warnings) == 1


def test_quota_reject():
    with lmtp_host(lmtp={"quota_full": "reject"}) as host, Client(host) as client:
        change(host, "UPDATE mailbox SET quota = 100 WHERE username = ?", HEIDI)
        reply, = client.transaction([HEIDI])
        assert reply.startswith("552 5.2.2"), reply
        assert not host.messages(HEIDI)


def test_usage_is_published():
    with lmtp_host(quota={"publish": "yes", "publish_interval": "1s"}) as host:
        os.chmod(host.folder, 0o777)  # for the journal beside the database
        with Client(host) as client:
            client.transaction([HEIDI])

        def published():
            with sqlite3.connect(host.sqlite_path, timeout=10) as database:
                return database.execute("SELECT bytes, messages FROM quota2 WHERE username = ?",
                                        (HEIDI,)).fetchone()
        wait_for("the usage", lambda: published() == usage(host, HEIDI))
        assert published()[1] == 1


def read(name):
    with open(name, "rb") as source:
        return source.read()


def test_mail_belongs_to_its_user():
    """[mail] identity = account: files and folders have the ids of the row; low ones are refused."""
    with lmtp_host(mail={"identity": "account"}) as host:
        for column in ("x_uid INTEGER", "x_gid INTEGER", "x_host TEXT"):
            host.sql(f"ALTER TABLE mailbox ADD COLUMN {column}")
        assert host.daemons["lmtp"].stop() == 0
        host.daemons["lmtp"].start()
        os.chmod(host.mail, 0o777)
        ids_of_the_row(host)


def ids_of_the_row(host):
    with Client(host) as client:
        change(host, "UPDATE mailbox SET x_uid = 12345, x_gid = 23456 WHERE username = ?", HEIDI)
        reply, = client.transaction([HEIDI])
        assert reply.startswith("250"), reply
        name, = host.messages(HEIDI)
        for path in (name, os.path.dirname(name), host.maildir(HEIDI)):
            found = os.stat(path)
            assert (found.st_uid, found.st_gid) == (12345, 23456), path
            assert stat.S_IMODE(found.st_mode) & 0o077 == 0, path
        change(host, "UPDATE mailbox SET x_uid = 50, x_gid = 50 WHERE username = ?", HEIDI)
        reply, = client.transaction([HEIDI])
        assert reply.startswith("451"), reply
        assert len(host.messages(HEIDI)) == 1
