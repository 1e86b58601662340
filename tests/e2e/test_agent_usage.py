"""
[quota] publish with the pipe(8) agent alone: no server of ours runs, and the quota2 table has what
the mailboxes hold; trouble with the database changes nothing of a delivery.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time

from rig.dialogue import send
from rig.host import OWNER, Host, mariadb, program, sanitizer_environment

SANITIZED = ("address",)

HEIDI, FRANK, ALICE = "heidi@example.com", "frank@example.org", "alice@example.com"
QUERY_TIMEOUT = 2
TEXT = b"Subject: x\n\nbody\n"
MAIL = TEXT.replace(b"\n", b"\r\n")


class UsageHost(Host):
    """The agent and the database."""

    def __init__(self, driver, settings=None, **options):
        options = {"daemons": (), "postfix": False, **options}
        super().__init__(driver, "4.x", settings={
            "quota": {"publish": "yes"}, "database": {"query_timeout": f"{QUERY_TIMEOUT}s"},
            **(settings or {})}, **options)
        shutil.chown(self.folder, OWNER, "nogroup")  # for SQLite's journal

    def start_agent(self, *arguments):
        return subprocess.Popen(
            [program("lmtp-deliver"), "-c", self.config_path, *arguments], user=OWNER,
            group="nogroup", extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=sanitizer_environment(self.folder))

    def deliver(self, *recipients, text=TEXT):
        """Ends well; what it said of usage."""
        words = ("-r", "a@remote.test", *recipients)
        with self.start_agent(*words) as agent:
            output = agent.communicate(text, timeout=60)[0].decode()
        assert agent.returncode == 0, (agent.returncode, output)
        return "\n".join(line for line in output.splitlines() if "usage not" in line)

    def published(self, address):
        """(bytes, messages) or None."""
        row = self.sql(f"SELECT bytes, messages FROM quota2 WHERE username = '{address}';").split()
        return tuple(map(int, row[0].split("|") if len(row) == 1 else row)) if row else None

    def counted(self, address):
        """What a recount finds."""
        paths = self.messages(address) + self.messages(address, ".Lists")
        return sum(map(os.path.getsize, paths)), len(paths)

    def assert_published(self, address, count):
        assert self.published(address) == self.counted(address), (
            self.published(address), self.counted(address))
        assert self.counted(address)[1] == count


def check_published(driver):
    with UsageHost(driver, {"lmtp": {"folders": "create"}}) as host:
        host.sql("DELETE FROM quota2;")
        host.sql(f"UPDATE mailbox SET quota = 1000000 WHERE username = '{FRANK}';")
        for count in (1, 2):  # a row that is not there yet, and one that is
            assert host.deliver(HEIDI, text=TEXT * count) == ""
            host.assert_published(HEIDI, count)
        host.deliver("heidi+Lists@example.com")
        host.assert_published(HEIDI, 3)
        # A removed message is not seen before the next recount; three in one call, two for one.
        os.unlink(host.messages(HEIDI)[0])
        os.unlink(os.path.join(host.maildir(HEIDI), "maildirsize"))
        host.deliver(HEIDI, FRANK, HEIDI, ALICE)
        host.assert_published(HEIDI, 4)
        host.assert_published(FRANK, 1)
        host.assert_published(ALICE, 1)


def test_published_with_sqlite():
    check_published("sqlite")


def test_published_with_mariadb():
    check_published("mysql")


def check_together(driver):
    """Agents pass each other between Maildir and database; the last one to write is right."""
    with UsageHost(driver, {"database": {"query_timeout": "60s"}}) as host:
        count = 0
        for _ in range(5):
            with contextlib.ExitStack() as stack:
                agents = [stack.enter_context(host.start_agent("-f", "a@b.test", "-d", HEIDI))
                          for _ in range(12)]
                for number, agent in enumerate(agents):
                    agent.stdin.write(TEXT * (1 + number))
                    agent.stdin.close()
                for agent in agents:
                    output = agent.stdout.read()
                    assert agent.wait(60) == 0, output
            count += len(agents)
            host.assert_published(HEIDI, count)


def test_together_with_sqlite():
    check_together("sqlite")


def test_together_with_mariadb():
    check_together("mysql")


def test_behind_postfix():
    """As pipe(8) of a real Postfix runs it."""
    main = ("virtual_mailbox_domains = example.com\nvirtual_mailbox_maps =\nvirtual_alias_maps =\n"
            "transport_maps =\nrelay_domains =\nsmtpd_sender_login_maps =\n"
            "virtual_transport = deliver\ndeliver_destination_recipient_limit = 1\n"
            "smtpd_relay_restrictions = permit_mynetworks, reject\n"
            "smtpd_recipient_restrictions =\nsmtpd_data_restrictions =\n")
    with UsageHost("mysql", postfix=True, main=main) as host:
        for _ in range(3):
            send(host.postfix.smtp_port, "sender@remote.test", [HEIDI], MAIL)
        host.postfix.wait_empty()
        host.assert_published(HEIDI, 3)
        # Without the right to write: delivered all the same, once.
        become_user(host, "SELECT")
        send(host.postfix.smtp_port, "sender@remote.test", [HEIDI], MAIL)
        host.postfix.wait_empty()
        assert len(host.messages(HEIDI)) == 4
        log = host.postfix.log()
        assert "status=deferred" not in log and "status=bounced" not in log, log[-3000:]
        assert log.count("status=sent (delivered via deliver service") == 4, log[-3000:]
        assert host.published(HEIDI)[1] == 3


def become_user(host, rights):
    """The agent is a user of the database with these rights only."""
    host.sql("CREATE OR REPLACE USER own@'127.0.0.1' IDENTIFIED BY 'own';"
             f"GRANT {rights} ON mail.* TO own@'127.0.0.1';")
    host.sections["database"].update(user="own", password="own")
    host.write_config()


def check_not_published(host, reason, seconds=0, meanwhile=contextlib.nullcontext()):
    """Delivered in time, for three; told in a line for each mailbox; not in the database."""
    before = [(address, host.counted(address)[1], host.published(address))
              for address in (HEIDI, FRANK, ALICE)]
    with meanwhile:
        started = time.monotonic()
        output = host.deliver(HEIDI, FRANK, ALICE)
        took = time.monotonic() - started
    assert took < seconds + 1.5, took
    for address, count, row in before:
        assert host.counted(address)[1] == count + 1
        assert host.published(address) == row
        assert output.count(f"usage not published account=<{address}>") == 1, output
    assert reason in output, output


def test_trouble_with_mariadb():
    with UsageHost("mysql") as host:
        host.deliver(HEIDI, FRANK, ALICE)
        # A lock that does not end, on the table and on one row.
        for lock in ("LOCK TABLES quota2 WRITE",
                     "BEGIN; SELECT * FROM quota2 WHERE username LIKE '%@%' FOR UPDATE"):
            check_not_published(host, "reason=<", QUERY_TIMEOUT, holding(host, lock))
        # A server that takes all its time, for each statement.
        host.sql("CREATE TRIGGER slow BEFORE UPDATE ON quota2 FOR EACH ROW SET @slept = SLEEP(1.2)")
        output = host.deliver(HEIDI, FRANK, ALICE)
        assert "account=<alice@example.com> reason=<the database takes too long>" in output
        assert len(host.messages(ALICE)) == 4
        host.sql("DROP TRIGGER slow")
        become_user(host, "SELECT")
        check_not_published(host, "denied")
        become_user(host, "SELECT, INSERT, UPDATE")
        host.sql("SET GLOBAL read_only = ON")
        check_not_published(host, "read-only")
        host.sql("SET GLOBAL read_only = OFF; RENAME TABLE quota2 TO away")
        assert "usage not published" in host.deliver(HEIDI)
        host.sql("RENAME TABLE away TO quota2")
        assert host.deliver(HEIDI, FRANK, ALICE) == ""
        host.assert_published(HEIDI, 8)
        host.assert_published(ALICE, 7)


@contextlib.contextmanager
def holding(host, statement):
    """A session of somebody else that has run STATEMENT and does not end."""
    with subprocess.Popen(
            [mariadb.program("mariadb", "mysql"), "--no-defaults", "--user=root", "--batch",
             "--unbuffered", f"--socket={host.database.socket}", "mail"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as session:
        session.stdin.write(f"{statement};\nSELECT 'held';\n")
        session.stdin.flush()
        while "held" not in session.stdout.readline():
            assert session.poll() is None
        yield
        session.stdin.close()
        session.wait(60)


def test_trouble_with_sqlite():
    with UsageHost("sqlite") as host:
        host.deliver(HEIDI, FRANK, ALICE)
        with contextlib.closing(sqlite3.connect(host.sqlite_path)) as other:
            other.execute("BEGIN IMMEDIATE")  # readers read on
            check_not_published(host, "lock", QUERY_TIMEOUT)
            other.rollback()
        # Without the right to write the folder, or the file.
        shutil.chown(host.folder, "root", "root")
        check_not_published(host, "reason=<")
        shutil.chown(host.folder, OWNER, "nogroup")
        shutil.chown(host.sqlite_path, "root", "root")
        check_not_published(host, "readonly")
        shutil.chown(host.sqlite_path, OWNER, "nogroup")
        assert host.deliver(HEIDI, FRANK, ALICE) == ""
        for address in (HEIDI, FRANK, ALICE):
            host.assert_published(address, 5)


def test_preset_without_a_place():
    """The server would not start; the agent delivers, and says it."""
    with UsageHost("sqlite") as host:
        with open(host.sections["schema"]["preset"], encoding="utf-8") as source:
            text = source.read()
        start = text.index("[query usage_set]")
        path = os.path.join(host.folder, "preset.ini")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text[:start] + text[text.index("[query recipient_bcc]"):])
        host.sections["schema"]["preset"] = path
        host.write_config()
        assert "no place for usage" in host.deliver(HEIDI)
        assert len(host.messages(HEIDI)) == 1


def test_not_asked_for():
    with UsageHost("sqlite", {"quota": {"publish": "no"}}) as host:
        host.sql("DELETE FROM quota2;")
        host.sql(f"UPDATE mailbox SET quota = 1000000 WHERE username = '{HEIDI}';")
        assert host.deliver(HEIDI) == ""
        assert host.published(HEIDI) is None
