"""
postern compare: Postfix's present mysql: and other tables, asked by real postmap, beside ours, on a
private MariaDB with the PostfixAdmin fixtures.

POSTERN_TOP_BUILDDIR says where the program was built, POSTERN_SCHEMAS where the presets are.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(os.path.dirname(HERE), "fixtures")
sys.path.insert(0, FIXTURES)
import mariadb  # noqa: E402  (beside this folder)

PROGRAM = os.environ.get("POSTERN_PROGRAM") or os.path.join(
    os.environ["POSTERN_TOP_BUILDDIR"], "postern", "postern")
USAGE, DATA, TEMP = 64, 65, 75

# The queries of PostfixAdmin's own instructions.
QUERIES = {
    "virtual_mailbox_domains":
        "SELECT domain FROM domain WHERE domain='%s' AND backupmx = '0' AND active = '1'",
    "relay_domains":
        "SELECT domain FROM domain WHERE domain='%s' AND backupmx = '1' AND active = '1'",
    "virtual_alias_maps": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "virtual_mailbox_maps":
        "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
    "smtpd_sender_login_maps": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "transport_maps":
        "SELECT REPLACE(transport, 'virtual', ':') AS transport FROM domain WHERE domain='%s' "
        "AND active = '1'",
}
ALIAS_DOMAINS = ("SELECT goto FROM alias, alias_domain WHERE alias_domain.alias_domain = '%d' AND "
                 "alias.address = CONCAT('%u', '@', alias_domain.target_domain) AND alias.active = 1 "
                 "AND alias_domain.active = '1'")


class Compare(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="test_compare.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)  # the server has another user
        cls.server = mariadb.MariaDB(f"{cls.folder}/db").start()
        cls.addClassCleanup(cls.server.stop)
        rows = subprocess.run([sys.executable, f"{FIXTURES}/postfixadmin.py", "--driver", "mysql",
                               "--layout", "4.x"], stdout=subprocess.PIPE, check=True).stdout
        cls.server.run(rows)
        cls.server.run("INSERT INTO alias (address, goto, domain, active) VALUES "
                       "('müller@example.com', 'alice@example.com', 'example.com', 1),"
                       "('gone@example.org', 'alice@example.com', 'example.org', 0);", "mail")
        os.mkdir(f"{cls.folder}/postfix")
        cls.write("postfix/main.cf", "compatibility_level = 3.6\ninet_protocols = ipv4\n")
        cls.environment = dict(os.environ, MAIL_CONFIG=f"{cls.folder}/postfix")
        cls.config = cls.configure("postern.ini", "")
        cls.tables = {name: cls.table(name, sql) for name, sql in QUERIES.items()}
        cls.alias_domains = cls.table("alias_domains", ALIAS_DOMAINS)

    @classmethod
    def write(cls, name, text):
        path = f"{cls.folder}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as out:
            out.write(text)
        return path

    @classmethod
    def configure(cls, name, more):
        return cls.write(name, f"[database]\ndriver = mysql\nhosts = {cls.server.socket}\n"
                               f"name = {cls.server.database}\nuser = {cls.server.user}\n"
                               f"password = \"{cls.server.password}\"\n{more}")

    @classmethod
    def table(cls, name, sql):
        return cls.write(f"{name}.cf", f"hosts = unix:{cls.server.socket}\n"
                                       f"user = {cls.server.user}\n"
                                       f"password = {cls.server.password}\n"
                                       f"dbname = {cls.server.database}\nquery = {sql}\n")

    def run_it(self, *words, config=None):
        return subprocess.run([PROGRAM, "-c", config or self.config, *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment, timeout=120,
                              check=False, text=True)

    def differences(self, *words, config=None):
        """{key: (old, new, name of the reason)}"""
        done = self.run_it("--json", "compare", *words, config=config)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((done.returncode, done.stderr), (1 if rows else 0, ""))
        found = {row["key"]: (row["old"], row["new"], (row["reason"] or "").partition(":")[0])
                 for row in rows}
        self.assertEqual(len(found), len(rows), "a key twice")
        return found

    def old(self, name):
        return f"{name}=mysql:{self.tables[name]}"

    def test_domains(self):
        found = self.differences(self.old("virtual_mailbox_domains"))
        # What the old query takes for local is relayed.
        self.assertEqual(found, {"relay.test": ("relay.test", None, ""),
                                 "ReLaY.TeSt": ("relay.test", None, "")})
        self.assertEqual(self.differences(self.old("relay_domains")), {
            "postern-compare.backup.test": ("backup.test", None, "subdomain"),
            "relay.test": (None, "relay.test", ""), "ReLaY.TeSt": (None, "relay.test", "")})

    def test_mailboxes(self):
        found = self.differences(self.old("virtual_mailbox_maps"))
        self.assertNotIn("alice@example.com", found)
        self.assertEqual(found["alice@example.net"][0::2], (None, ""))

    def test_aliases(self):
        found = self.differences(f"{self.old('virtual_alias_maps')},mysql:{self.alias_domains}")
        self.assertNotIn("alice@example.com", found)
        self.assertNotIn("Grace+Postern-Compare@Example.com", found)
        self.assertNotIn("postern-compare@example.org", found)
        # Deliberate differences are named; those that the old queries miss are not.
        self.assertEqual(found["gone@example.org"], ("alice@example.com", None, "inactive"))
        self.assertEqual(found["cmd@example.com"][2], "members")
        self.assertEqual(found["mixed@example.com"][1:], ("alice@example.com", "members"))
        self.assertEqual(found["frank@example.org"],
                         ("alice@example.com", "frank@example.org", ""))
        self.assertEqual({reason for _, _, reason in found.values()}, {"", "inactive", "members"})

    def test_logins_and_transports(self):
        for name, reason in (("smtpd_sender_login_maps", "logins"), ("transport_maps", "transport")):
            found = self.differences(self.old(name))
            self.assertIn(reason, {row[2] for row in found.values()}, (name, found))

    def test_imported_maps_make_no_difference(self):
        """The same queries through [map NAME]: Postfix's whole order of keys, kept by us."""
        done = self.run_it("import-maps", *self.tables.values())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        maps = done.stdout[done.stdout.index("\n\n"):]
        config = self.configure("imported.ini", maps)
        self.assertEqual(self.run_it("config", "test", config=config).returncode, 0)
        for name in self.tables:
            found = self.differences(self.old(name), config=config)
            if name == "relay_domains":
                found.pop("postern-compare.backup.test")
            # Postfix asks address maps for bare domains; none of these has a row.
            self.assertEqual(found, {}, name)

    def test_traps_of_old_tables(self):
        rows = self.write("rows", "alice@example.com\tother@example.com\n"
                                  "grace@example.com\tgrace-other@example.com\n"
                                  "example.com\ta bare domain\n@example.com\tall@example.com\n")
        found = self.differences(f"virtual_alias_maps=texthash:{rows}")
        self.assertEqual(found["alice@example.com"],
                         ("other@example.com", "alice@example.com", ""))
        # The first address of the domain.
        self.assertEqual(found["Grace+Postern-Compare@Example.com"][0],
                         "grace-other+Postern-Compare@example.com")
        self.assertEqual(found["example.com"], ("a bare domain", None, "bare"))
        self.assertEqual(found["postern-compare+x@example.com"][0], "all@example.com")

    def test_pattern_tables_get_no_derived_keys(self):
        rows = self.write("patterns", "/^@example.com$/ all@example.com\n/^alice@/ x@example.com\n")
        fixed = self.write("fixed", "@example.net\tnet@example.com\n")
        for tables in (f"regexp:{rows}", f"regexp:{rows},texthash:{fixed}"):
            found = self.differences(f"virtual_alias_maps={tables}")
            self.assertEqual(found["alice@example.com"][0], "x@example.com")
            self.assertNotIn("postern-compare@example.com", found)
        self.assertEqual(found["postern-compare@example.net"][0], "net@example.com")

    def test_tables_in_order(self):
        one = self.write("one", "@example.com\tall@example.com\n")
        two = self.write("two", "alice@example.com\ttwo@example.com\n")
        found = self.differences(f"virtual_alias_maps=texthash:{one},texthash:{two}")
        self.assertEqual(found["alice@example.com"][0], "two@example.com")

    def test_keys_that_cannot_be_asked(self):
        table = self.table("faulty", "SELECT goto FROM alias WHERE address = '%s' AND active = 1 "
                                     "AND ('%s' <> 'alice@example.com' OR (SELECT 1 UNION SELECT 2))")
        found = self.differences(f"virtual_alias_maps=mysql:{table}")
        self.assertEqual(found["alice@example.com"][0], "error")
        self.assertNotIn("bob@example.com", found)

    def test_broken_tables(self):
        for word in ("mysql:/nonexistent.cf", f"mysql:{self.table('b', 'SELEC 1')}"):
            done = self.run_it("compare", f"virtual_alias_maps={word}")
            self.assertEqual((done.returncode, done.stdout), (TEMP, ""), word)
            self.assertIn("postmap", done.stderr)

    def test_wrong_words(self):
        for word in ("virtual_alias_maps", "nosuch_maps=hash:/x", "virtual_alias_maps=",
                     "virtual_alias_maps=hash", "virtual_alias_maps=hash:", "canonical_maps=hash:/x",
                     "virtual_alias_maps=" + ",".join(["hash:/x"] * 9)):
            done = self.run_it("compare", word)
            self.assertEqual(done.returncode, USAGE, (word, done))
            self.assertNotEqual(done.stderr, "")

    def test_no_postmap(self):
        environment = self.environment
        self.environment = dict(environment, PATH="/nonexistent")
        try:
            done = self.run_it("compare", self.old("virtual_alias_maps"))
        finally:
            self.environment = environment
        # /usr/sbin is looked at in any case.
        self.assertEqual(done.returncode, 1, done)


if __name__ == "__main__":
    result = unittest.main(verbosity=0, exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
