"""
The admin command as a program: every verb on a temporary SQLite database, JSON, exit codes,
prompts through a pseudo-terminal, a database that is locked, away or strange.

POSTERN_TOP_BUILDDIR says where the program was built, POSTERN_SCHEMAS where the presets are.
"""

import json
import os
import pty
import pwd
import re
import select
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import termios
import time
import unittest

PROGRAM = os.environ.get("POSTERN_PROGRAM") or os.path.join(
    os.environ["POSTERN_TOP_BUILDDIR"], "postern", "postern")
NOT_FOUND, USAGE, DATA, UNAVAILABLE, IO_ERROR, TEMP, CONFIG = 1, 64, 65, 69, 74, 75, 78


class Terminal:
    """The command with a pseudo-terminal as its standard input, output and controlling terminal."""

    def __init__(self, arguments):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(PROGRAM, [PROGRAM, *arguments])

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return None
        try:
            return os.read(self.fd, 4096)
        except OSError:  # EIO: the other side is closed
            return b""

    def expect(self, text):
        deadline = time.monotonic() + 30
        while text.encode() not in self.seen:
            data = self._read(max(0, deadline - time.monotonic()))
            assert data, f"waited for {text!r}, saw {self.seen!r}"
            self.seen += data

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """The exit code, or minus the signal's number."""
        while data := self._read(30):
            self.seen += data
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


class Postern(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="test_postern.")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)
        self.database = f"{self.folder}/mail.sqlite"
        self.config = self.write("postern.ini", f"""
[database]
path = {self.database}
query_timeout = 300ms
[mail]
base = {self.folder}/mail
owner = nobody
[lookup]
listen = /var/spool/postfix/postern/lookup
""")

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def run_it(self, *arguments, config=None, stdin=None, **options):
        return subprocess.run([PROGRAM, "-c", config or self.config, *arguments],
                              input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              stdout=options.pop("stdout", subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=60, check=False, text=True,
                              **options)

    def good(self, *arguments, **options):
        done = self.run_it(*arguments, **options)
        self.assertEqual(done.returncode, 0, (arguments, done))
        self.assertEqual(done.stderr, "", arguments)
        return done.stdout

    def bad(self, code, *arguments, **options):
        """The command must fail with CODE and say why, and nothing else."""
        done = self.run_it(*arguments, **options)
        self.assertEqual(done.returncode, code, (arguments, done))
        self.assertNotEqual(done.stderr, "", arguments)
        return done.stderr

    def rows(self, *arguments, **options):
        return [json.loads(line) for line in self.good("--json", *arguments, **options).splitlines()]

    def sql(self, text, *values):
        with sqlite3.connect(self.database) as connection:
            answer = connection.execute(text, values).fetchall()
        connection.close()
        return answer

    def fill(self):
        self.good("db", "init")
        self.good("domain", "add", "example.com")
        self.good("user", "add", "alice@example.com", "--quota", "5G", "--name", "Alice",
                  stdin="alice-password\n")
        self.good("user", "add", "bob@example.com", stdin="bob-password\n")
        self.good("alias", "add", "sales@example.com", "alice@example.com", "bob@example.com")

    # ---- command line ----

    def test_usage(self):
        for arguments in ((), ("frobnicate",), ("user",), ("user", "frobnicate"), ("user", "add"),
                          ("user", "add", "a@b.test", "a-password"), ("user", "show", "--yes", "x"),
                          ("user", "add", "--quota"), ("user", "del", "--yes=1", "x@b.test"),
                          ("lookup", "virtual_alias_maps"), ("db", "init", "now"), ("-x",),
                          ("lookup", "no_such_map", "a@b.test")):
            self.bad(USAGE, *arguments)
        self.assertIn("virtual_alias_maps", self.bad(USAGE, "lookup", "no_such_map", "a@b.test"))

    def test_help_and_version(self):
        text = self.good("--help")
        for command in ("db init", "domain add", "user passwd", "alias del", "lookup MAP KEY",
                        "explain ADDRESS", "auth ADDRESS", "setup dovecot", "config test"):
            self.assertIn(f"  {command}", text)
        self.assertNotIn("alias add", self.good("user", "--help"))
        self.assertIn("sqlite", self.good("--version"))

    def test_manual_has_every_command_and_option(self):
        path = os.path.join(os.environ.get("POSTERN_TOP_SRCDIR", "."), "postern", "postern.1")
        with open(path, encoding="utf-8") as manual:
            text = manual.read()
        for line in self.good("--help").splitlines():
            words = line.split()
            if line.startswith("      --"):
                name = words[0][2:].rstrip(":")
                self.assertRegex(text, rf"Fl Fl {name}\b", line)
            elif line.startswith("  ") and line[2] not in " -":
                lower = [word for word in words if word.islower()]
                self.assertIn(" ".join(lower), text, line)

    # ---- db init ----

    def test_db_init(self):
        self.assertIn(self.database, self.good("db", "init"))
        self.assertEqual(stat.S_IMODE(os.stat(self.database).st_mode), 0o640)
        self.assertIn("already", self.bad(DATA, "db", "init"))
        self.assertEqual(self.sql("SELECT value FROM config WHERE name = 'version'"), [("1851",)])

    def test_db_init_hands_over(self):
        if os.geteuid() != 0:
            self.good("db", "init")
            self.assertEqual(os.stat(self.database).st_uid, os.geteuid())
            return
        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.good("db", "init")
        self.assertEqual(os.stat(self.database).st_uid, nobody.pw_uid)
        self.assertEqual(os.stat(self.database).st_gid, nobody.pw_gid)
        # An existing file stays whose it was.
        os.unlink(self.database)
        with open(self.database, "wb"):
            pass
        os.chown(self.database, 0, 12)
        self.good("db", "init")
        self.assertEqual((os.stat(self.database).st_uid, os.stat(self.database).st_gid), (0, 12))
        self.assertEqual(stat.S_IMODE(os.stat(self.database).st_mode), 0o640)

    # ---- domains ----

    def test_domains(self):
        self.good("db", "init")
        self.assertEqual(self.rows("domain", "list"), [])
        self.assertEqual(self.good("domain", "add", "Example.COM"), "added domain: example.com\n")
        self.good("domain", "add", "example.net", "--alias-of", "example.com")
        self.good("domain", "add", "--relay", "backup.test", "--description=Backup")
        self.assertEqual(self.rows("domain", "add", "imap2.test", "--transport",
                                   "lmtp:inet:192.0.2.26:2003"),
                         [{"done": "added domain", "name": "imap2.test"}])
        shown = {row["domain"]: row for name in ("example.com", "EXAMPLE.net", "backup.test",
                                                 "imap2.test")
                 for row in self.rows("domain", "show", name)}
        self.assertEqual(shown["example.com"], {"domain": "example.com", "active": True,
                                                "kind": "local", "alias_of": None,
                                                "transport": ""})
        self.assertEqual(shown["example.net"]["alias_of"], "example.com")
        self.assertEqual(shown["backup.test"]["kind"], "relay")
        self.assertEqual(shown["imap2.test"]["transport"], "lmtp:inet:192.0.2.26:2003")
        listed = self.good("domain", "list").splitlines()
        self.assertTrue(listed[0].startswith("name"))
        self.assertIn("backup.test", listed[1])
        self.assertIn("Backup", listed[1])
        self.assertEqual(self.good("lookup", "relay_domains", "backup.test"), "backup.test\n")

        self.assertIn("exists", self.bad(DATA, "domain", "add", "example.com"))
        self.assertIn("nope.test", self.bad(DATA, "domain", "add", "x.test", "--alias-of",
                                            "nope.test"))
        self.bad(DATA, "domain", "add", "not a domain")
        self.bad(DATA, "domain", "add", "a@b")
        self.bad(USAGE, "domain", "add", "y.test", "--alias-of", "example.com", "--relay")
        self.bad(NOT_FOUND, "domain", "show", "nope.test")
        self.bad(NOT_FOUND, "domain", "del", "nope.test", "--yes")
        self.bad(DATA, "domain", "del", "example.com", "--yes")  # the alias domain's target
        self.good("domain", "del", "example.net", "--yes")
        self.good("domain", "del", "example.com", "--yes")
        self.bad(NOT_FOUND, "domain", "show", "example.com")

    def test_domain_del_takes_rows_not_mail(self):
        self.fill()
        mail = f"{self.folder}/mail/example.com/alice/new"
        os.makedirs(mail)
        self.assertEqual(self.good("domain", "del", "example.com", "--yes"),
                         "deleted domain: example.com\n")
        self.assertEqual(self.rows("user", "list"), [])
        self.assertEqual(self.rows("alias", "list"), [])
        self.assertTrue(os.path.isdir(mail))

    # ---- users ----

    def test_users(self):
        self.fill()
        row = self.rows("user", "show", "Alice@Example.com")[0]
        nobody = pwd.getpwnam("nobody")
        self.assertEqual(row, {
            "login": "alice@example.com", "uid": nobody.pw_uid, "gid": nobody.pw_gid,
            "home": f"{self.folder}/mail/example.com/alice",
            "maildir": f"{self.folder}/mail/example.com/alice", "quota": 5 << 30,
            "quota_messages": None, "used_bytes": None, "used_messages": None, "active": True,
            "may_send": True, "may_receive": True, "transport": ""})
        self.assertIn("quota: 5368709120 (5G)\n", self.good("user", "show", "alice@example.com"))
        self.sql("INSERT INTO quota2 (username, bytes, messages) VALUES "
                 "('alice@example.com', 123, 4)")
        self.sql("UPDATE mailbox SET smtp_active = 0 WHERE username = 'alice@example.com'")
        row = self.rows("user", "show", "alice@example.com")[0]
        self.assertEqual((row["used_bytes"], row["used_messages"], row["may_send"]),
                         (123, 4, False))

        users = self.rows("user", "list")
        self.assertEqual([(user["address"], user["quota"]) for user in users],
                         [("alice@example.com", 5 << 30), ("bob@example.com", None)])
        self.assertEqual(self.rows("user", "list", "other.test"), [])
        self.assertEqual(len(self.rows("user", "list", "Example.com")), 2)
        self.bad(DATA, "user", "list", "not a domain")

        self.assertIn("exists", self.bad(DATA, "user", "add", "alice@example.com", stdin="x\n"))
        self.assertIn("add it first", self.bad(DATA, "user", "add", "a@nope.test", stdin="x\n"))
        self.bad(DATA, "user", "add", "no-domain", stdin="x\n")
        self.bad(USAGE, "user", "add", "c@example.com", "--quota", "much", stdin="x\n")
        self.bad(USAGE, "user", "add", "c@example.com", "--quota", "-5", stdin="x\n")
        self.bad(DATA, "user", "add", "c@example.com", "--scheme", "ROT13", stdin="x\n")
        self.bad(DATA, "user", "add", "c@example.com", stdin="\n")
        self.bad(DATA, "user", "add", "c@example.com", stdin="")
        self.bad(DATA, "user", "add", "c@example.com", stdin="x" * 2000)
        self.bad(NOT_FOUND, "user", "show", "c@example.com")
        self.bad(NOT_FOUND, "user", "passwd", "c@example.com", stdin="x\n")
        self.bad(NOT_FOUND, "user", "del", "c@example.com", "--yes")
        self.good("user", "add", "c@example.com", "--quota=none", "--scheme=argon2id",
                  stdin="x y \r\nsecond line\n")
        self.good("auth", "c@example.com", stdin="x y \n")
        self.good("user", "del", "c@example.com", "--yes")
        self.bad(NOT_FOUND, "user", "show", "c@example.com")

    def test_secrets_are_not_shown(self):
        self.fill()
        stored = self.sql("SELECT password FROM mailbox")
        for arguments in (("user", "show", "alice@example.com"), ("user", "list"),
                          ("explain", "alice@example.com"), ("config", "show")):
            for json_too in ((), ("--json",)):
                text = self.good(*json_too, *arguments)
                for (value,) in stored:
                    self.assertTrue(value.startswith("$6$"))
                    self.assertNotIn(value, text)
        text = self.run_it("auth", "alice@example.com", stdin="wrong-secret\n").stdout
        self.assertNotIn("wrong-secret", text)
        self.assertNotIn("$6$", text)

    def test_generate(self):
        self.fill()
        row = self.rows("user", "add", "gen@example.com", "--generate")[0]
        self.assertEqual(len(row["password"]), 20)
        self.good("auth", "gen@example.com", stdin=row["password"] + "\n")
        text = self.good("user", "passwd", "gen@example.com", "--generate")
        password = text.splitlines()[1].removeprefix("password: ")
        self.assertNotEqual(password, row["password"])
        self.good("auth", "gen@example.com", stdin=password + "\n")

    def test_passwd_and_auth(self):
        self.fill()
        self.good("user", "passwd", "bob@example.com", stdin="new one\n")
        self.good("auth", "Bob@Example.com", stdin="new one\n")

        def refused(reason, login, password):
            done = self.run_it("--json", "auth", login, stdin=password + "\n")
            self.assertEqual(done.returncode, NOT_FOUND, done)
            row = json.loads(done.stdout)
            self.assertEqual((row["result"], row["account"]), ("refused", None))
            self.assertIn(reason, row["reason"])
            self.assertTrue(row["trace"])

        refused("wrong-password", "bob@example.com", "bob-password")
        self.sql("UPDATE mailbox SET smtp_active = 0 WHERE username = 'bob@example.com'")
        refused("barred", "bob@example.com", "new one")
        self.sql("UPDATE mailbox SET active = 0 WHERE username = 'bob@example.com'")
        refused("inactive", "bob@example.com", "new one")
        refused("", "nobody@example.com", "x")
        row = self.rows("auth", "alice@example.com", stdin="alice-password\n")[0]
        self.assertEqual((row["result"], row["account"]), ("accepted", "alice@example.com"))
        self.sql("UPDATE mailbox SET password = '{FOO}x' WHERE username = 'alice@example.com'")
        self.assertIn("FOO", self.bad(DATA, "auth", "alice@example.com", stdin="x\n"))

    # ---- aliases ----

    def test_aliases(self):
        self.fill()
        self.assertEqual(self.rows("alias", "show", "Sales@example.com"), [
            {"alias": "sales@example.com", "active": True,
             "members": ["alice@example.com", "bob@example.com"]}])
        self.assertEqual(self.good("lookup", "virtual_alias_maps", "Sales+X@example.com"),
                         "alice+X@example.com,bob+X@example.com\n")
        self.good("alias", "add", "@example.com", "alice@example.com")
        self.assertEqual(self.good("lookup", "virtual_alias_maps", "zzz@example.com"),
                         "alice@example.com\n")
        listed = self.rows("alias", "list", "example.com")
        self.assertEqual([row["address"] for row in listed],
                         ["@example.com", "sales@example.com"])
        self.assertIn("alice@example.com, bob@example.com", self.good("alias", "list"))

        self.assertEqual(self.rows("alias", "del", "sales@example.com", "bob@example.com", "--yes"),
                         [{"done": "deleted target", "name": "sales@example.com",
                           "target": "bob@example.com"}])
        self.bad(NOT_FOUND, "alias", "del", "sales@example.com", "bob@example.com", "--yes")
        self.good("alias", "del", "sales@example.com", "--yes")
        self.bad(NOT_FOUND, "alias", "show", "sales@example.com")
        self.bad(NOT_FOUND, "alias", "del", "sales@example.com", "--yes")
        self.bad(DATA, "alias", "add", "nonsense", "alice@example.com")
        self.bad(DATA, "alias", "add", "cmd@example.com", "|/bin/true")
        self.bad(DATA, "alias", "add", "a@nope.test", "alice@example.com")

    # ---- questions ----

    def test_lookup(self):
        self.fill()
        self.assertEqual(self.rows("lookup", "virtual_mailbox_domains", "EXAMPLE.com"), [
            {"map": "virtual_mailbox_domains", "key": "EXAMPLE.com", "answer": "example.com"}])
        self.assertEqual(self.good("lookup", "smtpd_sender_login_maps", "sales@example.com"),
                         "alice@example.com,bob@example.com\n")
        self.assertIn("not found", self.bad(NOT_FOUND, "lookup", "virtual_alias_maps", "*"))
        self.sql("UPDATE alias SET goto = '|/bin/true' WHERE address = 'sales@example.com'")
        self.bad(DATA, "lookup", "virtual_alias_maps", "sales@example.com")
        self.bad(NOT_FOUND, "lookup", "virtual_alias_maps", "--", "-x")

    def test_site_maps(self):
        self.good("db", "init")
        config = self.write("maps.ini", f"""
[database]
path = {self.database}
[map there]
query = "SELECT :local, :domain"
[map quota]
query = "SELECT 'ours'"
[map broken]
query = "SELEC :key"
[map tableless]
query = "SELECT a FROM nowhere"
""")
        self.assertEqual(self.good("lookup", "there", "Ann@Example.com", config=config),
                         "ann,example.com\n")
        self.assertEqual(self.good("lookup", "quota", "x", config=config), "ours\n")
        self.bad(NOT_FOUND, "lookup", "there", "x", config=config)
        self.assertIn("[map broken] query \"SELEC :key\"",
                      self.bad(DATA, "lookup", "broken", "x", config=config))
        self.assertIn(", there, quota, broken, tableless",
                      self.bad(USAGE, "lookup", "nosuch", "x", config=config))
        said = self.bad(CONFIG, "config", "test", config=config)
        self.assertIn("[map broken] query \"SELEC :key\"", said)
        self.assertIn("syntax error", said)
        self.assertIn("no such table: nowhere", said)
        self.assertNotIn("[map there]", said)

    def test_explain(self):
        self.fill()
        rows = self.rows("explain", "sales+x@example.com")
        self.assertEqual([row["address"] for row in rows],
                         ["sales+x@example.com", "alice+x@example.com", "bob+x@example.com"])
        self.assertEqual(rows[0]["by"], "alias")
        self.assertEqual(rows[0]["may_send_as_it"], "alice@example.com,bob@example.com")
        self.assertEqual(rows[1]["mailbox"], "alice@example.com")
        self.assertEqual(rows[1]["quota"], 5 << 30)
        self.assertTrue(rows[1]["trace"])
        done = self.run_it("--json", "explain", "nobody@example.com")
        self.assertEqual(done.returncode, NOT_FOUND)
        self.assertEqual(json.loads(done.stdout)["result"], "none")
        self.good("alias", "add", "loop1@example.com", "loop2@example.com")
        self.good("alias", "add", "loop2@example.com", "loop1@example.com")
        self.assertEqual(len(self.rows("explain", "loop1@example.com")), 2)
        self.assertIn("\n\naddress: bob@example.com\n", self.good("explain", "sales@example.com"))

    # ---- output ----

    def test_strange_rows(self):
        self.fill()
        name = "q\"b\\s \x1b[2J tab\t nl\n e\u00e9 \U0001f4e7"
        self.sql("UPDATE mailbox SET name = ? WHERE username = 'alice@example.com'", name)
        self.assertEqual(self.rows("user", "list")[0]["name"], name)
        text = self.good("user", "list")
        self.assertNotIn("\x1b", text)
        self.assertEqual(len(text.splitlines()), 3)
        self.sql("UPDATE mailbox SET name = CAST(X'61ff62' AS TEXT) "
                 "WHERE username = 'alice@example.com'")
        self.assertEqual(self.rows("user", "list")[0]["name"], "a\ufffdb")
        self.sql("UPDATE mailbox SET maildir = '../../etc/' WHERE username = 'alice@example.com'")
        row = self.rows("user", "show", "alice@example.com")[0]
        self.assertIsNone(row["maildir"])
        self.assertTrue(row["maildir_problem"])

    def test_quota_beyond_all_bounds(self):
        with open(f"{os.environ['POSTERN_SCHEMAS']}/postfixadmin.ini", encoding="utf-8") as preset:
            text = preset.read().replace("quota_unit = 1\n", "quota_unit = 1048576\n")
        config = self.write("mib.ini", f"[database]\npath = {self.database}\n[mail]\nowner = nobody\n"
                            f"[schema]\npreset = {self.write('mib_preset.ini', text)}\n")
        self.fill()
        for quota, listed in ((3, 3 << 20), (2 ** 63 - 1, 2 ** 63 - 1), (-1, None)):
            self.sql("UPDATE mailbox SET quota = ?", quota)
            self.assertEqual(self.rows("user", "list", config=config)[0]["quota"], listed)

    def test_json_errors(self):
        self.fill()
        done = self.run_it("--json", "user", "show", "x@example.com")
        error = json.loads(done.stderr)
        self.assertEqual(error["exit"], NOT_FOUND)
        self.assertIn("x@example.com", error["error"])

    def test_output_that_cannot_be_written(self):
        self.fill()
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.bad(IO_ERROR, "user", "list", stdout=full)

    # ---- trouble with the database ----

    def test_database_away(self):
        for arguments in (("domain", "list"), ("user", "show", "a@b.test"),
                          ("lookup", "virtual_alias_maps", "a@b.test"), ("config", "test"),
                          ("explain", "a@b.test"), ("alias", "add", "a@b.test", "c@d.test")):
            self.assertIn(self.database, self.bad(TEMP, *arguments))
        self.bad(TEMP, "auth", "a@b.test", stdin="x\n")
        self.assertFalse(os.path.exists(self.database), "only db init makes a database")

    def test_database_locked(self):
        self.fill()
        other = sqlite3.connect(self.database, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.bad(TEMP, "domain", "add", "locked.test")
        self.bad(TEMP, "user", "list")
        other.execute("ROLLBACK")
        self.good("domain", "add", "locked.test")

    def test_other_tables(self):
        self.sql("CREATE TABLE unrelated (x)")
        text = self.bad(CONFIG, "config", "test")
        self.assertIn("does not look like a postfixadmin database", text)
        self.assertIn("expected domain.backupmx, mailbox.maildir", text)

    def test_other_preset(self):
        self.sql("CREATE TABLE virtual_domains (id INTEGER, name TEXT)")
        self.sql("CREATE TABLE virtual_users (id INTEGER, domain_id INTEGER, email TEXT, "
                 "password TEXT)")
        self.sql("CREATE TABLE virtual_aliases (id INTEGER, domain_id INTEGER, source TEXT, "
                 "destination TEXT)")
        self.assertIn("looks like ispmail", self.bad(CONFIG, "config", "test"))
        # Nor does a database of somebody else's get our tables.
        self.assertIn("looks like ispmail", self.bad(DATA, "db", "init"))
        self.assertEqual(self.sql("SELECT name FROM sqlite_master WHERE name = 'mailbox'"), [])

    # ---- configuration ----

    def test_config(self):
        self.good("db", "init")
        self.assertIn("database: good", self.good("config", "test"))
        row = self.rows("config", "test")[0]
        self.assertEqual(row["preset"], "postfixadmin")
        self.assertIn("PostfixAdmin", row["layout"])
        bad = self.write("bad.ini", "[database]\ndrver = sqlite\n[lookup]\nworkers = many\n")
        text = self.bad(CONFIG, "config", "test", config=bad)
        self.assertIn("drver", text)
        self.assertIn("workers", text)
        self.assertIn("config test", self.bad(CONFIG, "user", "list", config=bad))
        self.bad(CONFIG, "config", "test", config=f"{self.folder}/absent.ini")
        wrong = self.write("wrong.ini", "[schema]\npreset = nosuch\n")
        self.assertIn("nosuch", self.bad(CONFIG, "config", "test", config=wrong))

    def test_config_show(self):
        secret = self.write("secret.ini", "[database]\ndriver = mysql\nhosts = db1\nname = mail\n"
                            "user = mail\npassword = \"very;secret\"\n[limit a]\nmax = 5\n")
        os.chmod(secret, 0o600)
        text = self.good("config", "show", config=secret)
        self.assertIn("[limit a]", text)
        self.assertNotIn("very", text)
        rows = {(row["section"], row["key"]): row["value"]
                for row in self.rows("config", "show", config=secret)}
        self.assertEqual(rows["database", "password"], "(set)")
        self.assertEqual(rows["limit a", "max"], "5")
        self.assertEqual(rows["address", "recipient_delimiter"], "+")

    # ---- setup ----

    def test_setup_postfix(self):
        queue = f"{self.folder}/queue"
        config = self.write("queue.ini", f"""
[database]
path = {self.database}
[lookup]
listen = 127.0.0.1:4000 {queue}/postern/lookup
[lmtp]
listen = [::1]:24
[policy]
listen = /run/elsewhere/policy
[address]
recipient_delimiter = +-
""")
        done = self.run_it("setup", "postfix", "--queue-directory", queue, "--only", "main.cf",
                           config=config)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("chroot", done.stderr)
        self.assertIn("unix:/run/elsewhere/policy", done.stdout)
        self.write("main.cf", done.stdout)
        self.write("master.cf", self.good("setup", "postfix", "--only", "master.cf"))
        postfix = subprocess.run(["/usr/sbin/postconf", "-c", self.folder, "-n"], check=True,
                                 capture_output=True, text=True, timeout=60)
        self.assertNotIn("unused parameter", postfix.stderr)
        values = dict(line.split(" =", 1) for line in postfix.stdout.splitlines())
        values = {name: value.strip() for name, value in values.items()}
        self.assertEqual(values["virtual_alias_maps"],
                         "socketmap:unix:postern/lookup:virtual_alias_maps")
        self.assertEqual(values["smtpd_sender_login_maps"],
                         "socketmap:unix:postern/lookup:smtpd_sender_login_maps")
        for name in ("recipient_bcc_maps", "sender_bcc_maps", "sender_dependent_relayhost_maps",
                     "smtp_sasl_password_maps", "smtp_tls_policy_maps"):
            self.assertEqual(values[name], f"socketmap:unix:postern/lookup:{name}")
        self.assertEqual(values["smtp_sasl_auth_enable"], "yes")
        self.assertEqual(values["virtual_alias_domains"], "")
        self.assertEqual(values["virtual_transport"], "lmtp:inet:[::1]:24")
        self.assertEqual(values["recipient_delimiter"], "+-")
        self.assertIn("default_action=DUNNO", values["smtpd_data_restrictions"])
        self.assertIn("check_policy_service", values["smtpd_recipient_restrictions"])
        services = subprocess.run(["/usr/sbin/postconf", "-c", self.folder, "-P"], check=True,
                                  capture_output=True, text=True, timeout=60).stdout
        self.assertIn("submission/inet/smtpd_sender_restrictions = reject_sender_login_mismatch",
                      services)
        self.assertIn("submissions/inet/smtpd_tls_wrappermode = yes", services)

        everything = self.good("setup", "postfix")
        self.assertIn("virtual_transport = lmtp:unix:postern/lmtp\n", everything)
        self.assertEqual([row["file"] for row in self.rows("setup", "postfix")],
                         ["main.cf", "master.cf"])
        self.bad(USAGE, "setup", "postfix", "--only", "other.cf")

    def test_setup_postfix_prints_what_the_preset_has(self):
        shipped = os.path.join(os.environ["POSTERN_SCHEMAS"], "postfixadmin.ini")
        with open(shipped, encoding="utf-8") as file:
            preset = file.read()
        for query in ("recipient_bcc", "sender_relayhost", "smtp_sasl_password"):
            preset, count = re.subn(rf"\[query {query}\]\n(sql.*\n)+", "", preset)
            self.assertEqual(count, 1, query)
        path = self.write("preset.ini", preset)
        config = self.write("own.ini", f"""
[database]
path = {self.database}
[schema]
preset = {path}
""")
        done = self.run_it("setup", "postfix", "--only", "main.cf", config=config)
        self.assertEqual(done.returncode, 0, done)
        printed = {line.split(" =")[0] for line in done.stdout.splitlines()}
        self.assertLessEqual({"sender_bcc_maps", "smtp_tls_policy_maps", "transport_maps"}, printed)
        self.assertFalse({"recipient_bcc_maps", "sender_dependent_relayhost_maps",
                          "smtp_sasl_password_maps", "smtp_sasl_auth_enable"} & printed, printed)

    def test_setup_sasl(self):
        self.assertIn(f"postern_config: {self.config}\n", self.good("setup", "sasl"))
        daemon = self.write("daemon.ini",
                            "[auth]\nsaslauthd = /var/spool/postfix/postern/saslauthd\n")
        self.assertEqual(self.good("setup", "sasl", "--only", "smtpd.conf", config=daemon),
                         "pwcheck_method: saslauthd\nsaslauthd_path: postern/saslauthd\n"
                         "mech_list: PLAIN LOGIN\n")

    def dovecot_queries(self, name):
        """{key: SQL} of one printed file, as Dovecot sees it for alice."""
        text = self.good("setup", "dovecot", "--only", name)
        queries = {}
        for line in text.splitlines():
            key, equals, value = line.strip().partition(" = ")
            if equals and value.startswith("SELECT"):
                for variable in ("%u", "%{user}"):
                    value = value.replace(variable, "alice@example.com")
                for variable in ("%d", "%{user | domain}"):
                    value = value.replace(variable, "example.com")
                queries.setdefault(key, []).append(value)
        return text, queries

    def test_setup_dovecot(self):
        self.fill()
        home = f"{self.folder}/mail/example.com/alice/"
        text, queries = self.dovecot_queries("dovecot-2.3-sql.conf.ext")
        self.assertIn(f"connect = {self.database}\n", text)
        self.assertEqual(self.sql(queries["user_query"][0]), [(home, "*:bytes=5368709120")])
        self.assertEqual(self.sql(queries["iterate_query"][0]),
                         [("alice@example.com",), ("bob@example.com",)])
        user, password = self.sql(queries["password_query"][0])[0]
        self.assertEqual(user, "alice@example.com")
        self.assertTrue(password.startswith("$6$"))
        text, queries = self.dovecot_queries("dovecot-2.4.conf")
        self.assertEqual(self.sql(queries["query"][1]), [(home, "5368709120B")])
        self.assertEqual(self.sql(queries["query"][0]), [(user, password)])
        self.assertNotIn("%u", text)
        self.assertEqual(text.count("{"), text.count("}"))
        # No quota is no field, and a closed domain no login.
        self.sql("UPDATE mailbox SET quota = 0")
        self.assertEqual(self.sql(queries["query"][1]), [(home, None)])
        self.sql("UPDATE domain SET active = 0")
        self.assertEqual(self.sql(queries["query"][0]), [])

    def test_setup_dovecot_is_read_by_dovecot(self):
        self.good("db", "init")
        path = self.write("dovecot.conf", "protocols = imap\nssl = no\n"
                          + self.good("setup", "dovecot", "--only", "dovecot-2.3.conf"))
        seen = subprocess.run(["/usr/bin/doveconf", "-n", "-c", path], check=True,
                              capture_output=True, text=True, timeout=60).stdout
        self.assertIn("driver = sql", seen)
        self.assertIn("quota = maildir:User quota", seen)

    def test_setup_dovecot_mysql_hides_the_password(self):
        config = self.write("mysql.ini", "[database]\ndriver = mysql\n"
                            "hosts = /run/mysqld/mysqld.sock db2.test:3307 [2001:db8::1]:3308\n"
                            "name = mail\nuser = reader\npassword = hidden-word\n"
                            "[mail]\nowner = nobody\n")
        os.chmod(config, 0o600)
        text = self.good("setup", "dovecot", config=config)
        self.assertIn("host=/run/mysqld/mysqld.sock host=db2.test port=3307 host=2001:db8::1 "
                      "port=3308 dbname=mail user=reader password=PASSWORD", text)
        self.assertNotIn("hidden-word", text)

    def test_setup_dovecot_without_texts(self):
        with open(f"{os.environ['POSTERN_SCHEMAS']}/postfixadmin.ini", encoding="utf-8") as preset:
            text = preset.read()
        cut = self.write("cut.ini", text[:text.index("[dovecot]")])
        config = self.write("own.ini", f"[schema]\npreset = {cut}\n[mail]\nowner = nobody\n")
        self.assertIn("[dovecot]", self.bad(UNAVAILABLE, "setup", "dovecot", config=config))

    # ---- terminals ----

    def terminal(self, *arguments):
        return Terminal(["-c", self.config, *arguments])

    def test_prompt(self):
        self.fill()
        terminal = self.terminal("user", "add", "typed@example.com")
        terminal.expect("New password: ")
        self.assertFalse(terminal.echoes())
        terminal.type("typed-secret\n")
        terminal.expect("Again: ")
        terminal.type("typed-secret\n")
        self.assertEqual(terminal.end(), 0, terminal.seen)
        self.assertIn(b"added user: typed@example.com", terminal.seen)
        self.assertNotIn(b"typed-secret", terminal.seen)

        terminal = self.terminal("auth", "typed@example.com")
        terminal.expect("Password: ")
        terminal.type("typed-secret\n")
        self.assertEqual(terminal.end(), 0, terminal.seen)
        self.assertNotIn(b"typed-secret", terminal.seen)

    def test_prompt_twice_not_the_same(self):
        self.fill()
        terminal = self.terminal("user", "passwd", "alice@example.com")
        terminal.expect("New password: ")
        terminal.type("one\n")
        terminal.expect("Again: ")
        terminal.type("two\n")
        self.assertEqual(terminal.end(), DATA)
        self.assertIn(b"differ", terminal.seen)
        self.good("auth", "alice@example.com", stdin="alice-password\n")

    def test_prompt_interrupted(self):
        self.fill()
        terminal = self.terminal("user", "passwd", "alice@example.com")
        terminal.expect("New password: ")
        self.assertFalse(terminal.echoes())
        os.kill(terminal.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not terminal.echoes():
            self.assertLess(time.monotonic(), deadline, "the echo stays off")
            time.sleep(0.01)
        self.assertEqual(terminal.end(), -signal.SIGTERM)

    def test_confirm(self):
        self.fill()
        self.assertIn("--yes", self.bad(USAGE, "user", "del", "bob@example.com"))
        self.bad(USAGE, "alias", "del", "sales@example.com")
        self.bad(USAGE, "domain", "del", "example.com", stdin="y\n")
        for answer in ("n\n", "\n", "maybe\n"):
            terminal = self.terminal("user", "del", "bob@example.com")
            terminal.expect("[y/N] ")
            terminal.type(answer)
            self.assertEqual(terminal.end(), USAGE)
        self.good("user", "show", "bob@example.com")
        terminal = self.terminal("user", "del", "bob@example.com")
        terminal.expect("[y/N] ")
        terminal.type("y\n")
        self.assertEqual(terminal.end(), 0, terminal.seen)
        self.bad(NOT_FOUND, "user", "show", "bob@example.com")


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"{PROGRAM} is not there: build it first")
    result = unittest.main(verbosity=0, exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
