"""
postern import-maps: what it makes of Postfix's SQL tables, what it refuses, and that the maps that
come out answer as Postfix does: `postmap -q KEY mysql:FILE` and `postern lookup` side by side on a
private MariaDB.

POSTERN_TOP_BUILDDIR says where the program was built, POSTERN_SCHEMAS where the presets are.
"""

import concurrent.futures
import functools
import glob
import os
import re
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
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
DATA, USAGE = 65, 64


def run(*arguments, **options):
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False, text=True, **options)


class Files(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="test_import_maps.")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def good(self, *words):
        done = run("import-maps", *words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def section(self, text, name="t.cf", word="{}"):
        """The lines of the one map of a file with this text."""
        printed = self.good(word.format(self.write(name, text)))
        return [line for line in re.search(r"\[map .*", printed, re.DOTALL)[0].splitlines()
                if not line.startswith(";")]

    def refused(self, text, reason, line, name="t.cf"):
        path = self.write(name, text)
        done = run("import-maps", path)
        self.assertEqual(done.returncode, DATA, (text, done))
        self.assertEqual(done.stdout, "")
        self.assertIn(f"{path}:{line}: " if line else f"{path}: ", done.stderr)
        self.assertIn(reason, done.stderr)

    def query(self, sql):
        return self.section(f"query = {sql}\n")[1:-2]

    # What comes out

    def test_howto_files(self):
        """Every table that the howtos print."""
        files = sorted(glob.glob(f"{FIXTURES}/cf/*.cf"))
        self.assertEqual(len(files), 8)
        for group in ("mysql_", "mysql-"):
            printed = self.good(*[file for file in files
                                  if os.path.basename(file).startswith(group)])
            self.assertEqual(printed.count("[map "), 4)
            self.assertEqual(printed.count("[database]"), 1)
            self.assertEqual(printed.count(":key"), 4)
            self.assertNotIn("%", printed)

    def test_legacy_form(self):
        self.assertEqual(
            self.section("table = alias\nselect_field = goto\nwhere_field = address\n"
                         "additional_conditions = AND domain = '%d' AND active = '1'\n"),
            ["[map t]",
             "query = \"SELECT goto FROM alias WHERE address=:key AND domain = :domain "
             "AND active = '1'\"", "key = any", "search = exact"])

    def test_letters(self):
        self.assertEqual(self.query("SELECT '%s','%S','%u','%U','%d','%D','%1','%9' FROM t"),
                         ['query = "SELECT :key,:key,:local,:local,:domain,:domain,:label1,:label9'
                          ' FROM t"'])
        self.assertEqual(self.query("SELECT a FROM t WHERE b LIKE '50%%' AND c = \"%s\""),
                         ["query = \"SELECT a FROM t WHERE b LIKE '50%' AND c = :key\""])
        self.assertEqual(self.query("SELECT a%%2 FROM t;"), ['query = "SELECT a%2 FROM t"'])

    def test_parts_of_literals(self):
        self.assertEqual(
            self.query("SELECT a FROM t WHERE b = 'x%s' OR b = '%u@%d' OR c = 'x%s' "
                       "OR d LIKE '%%%1{}'"),
            ['query = "SELECT a FROM t WHERE b = :text1 OR b = :text2 OR c = :text1 '
             'OR d LIKE :text3"', "text1 = x{key}", "text2 = {key.local}@{key.domain}",
             'text3 = "%{key.label1}{{}}"'])
        self.assertEqual(self.query("SELECT a FROM t WHERE b = 'it''s %s'"),
                         ['query = "SELECT a FROM t WHERE b = :text1"', "text1 = \"it's {key}\""])
        self.assertEqual(self.query("SELECT a, \"it's\", 'x' FROM t WHERE b = '%s'"),
                         ["query = \"SELECT a, 'it''s', 'x' FROM t WHERE b = :key\""])

    def test_options(self):
        self.assertEqual(
            self.section("query = SELECT a FROM t WHERE b = '%s'\ndomain = a.test, b.test\n"
                         "result_format = {%s} %u %d %S %U %D %1 %%\nexpansion_limit = 5\n"
                         "require_result_set = no\nretry_interval = 5\nnosuch = 1\n")[4:],
            ['domains = "a.test b.test"',
             'result = "{{{value}}} {value.local} {value.domain} {key} {key.local} {key.domain} '
             '{key.label1} %"', "limit = 5", "require_result = no"])

    def test_names_and_search(self):
        query = "query = SELECT a FROM t WHERE b = '%s'\n"
        for name, word, expected in (
                ("mysql_virtual_alias_maps.cf", "{}",
                 ["[map virtual_alias_maps]", "key = address", "search = full"]),
                ("mysql-virtual-mailbox-maps.cf", "{}",
                 ["[map virtual_mailbox_maps]", "key = address", "search = full",
                  "append_extension = no"]),
                ("proxy-mysql_transport_maps.cf", "{}",
                 ["[map transport_maps]", "key = any", "search = transport"]),
                ("relay_domains", "{}",
                 ["[map relay_domains]", "key = domain", "search = exact"]),
                ("my-Map.cf", "{}", ["[map my-map]", "key = any", "search = exact"]),
                ("a.cf", "smtpd_sender_login_maps=proxy:mysql:{}",
                 ["[map smtpd_sender_login_maps]", "key = address", "search = full",
                  "append_extension = no"]),
                ("b.cf", "pgsql:{}", ["[map b]", "key = any", "search = exact"])):
            lines = self.section(query, name, word)
            self.assertEqual(lines[:1] + lines[2:], expected)

    def test_several_tables_of_a_parameter(self):
        query = "query = SELECT a FROM t WHERE b = '%s'\n"
        printed = self.good(f"virtual_alias_maps={self.write('one.cf', query)}",
                            f"virtual_alias_maps={self.write('two.cf', query)}")
        self.assertIn("[map virtual_alias_maps]", printed)
        self.assertIn("[map two]", printed)
        self.assertEqual(printed.count("Another table of this parameter"), 1)

    def test_lines(self):
        """Comments, continuations, blanks, as Postfix reads them."""
        self.assertEqual(
            self.section("\n# comment\nquery=SELECT a\n  # inside\n\n\tFROM t  \n  WHERE b = '%s'\n"
                         "   \nhosts =\n")[1],
            'query = "SELECT a FROM t    WHERE b = :key"')

    # The database

    def database(self, *texts):
        words = [self.write(f"d{index}.cf", text + "\nquery = SELECT 1 FROM t\n")
                 for index, text in enumerate(texts)]
        printed = self.good(*words)
        found = re.search(r"\[database\]\n(.*?)\n\n", printed, re.DOTALL)
        return found[1].splitlines() if found else printed.splitlines()[0]

    def test_database(self):
        self.assertEqual(
            self.database("hosts = unix:/run/s, inet:db1:3307 db2\nuser = u\npassword = p\"#;\n"
                          "dbname = d\ntls_CAfile = /ca.pem"),
            ["driver = mysql", 'hosts = "/run/s db1:3307 db2"', "name = d", "user = u",
             "password = 'p\"#;'", "tls = require", "tls_ca = /ca.pem"])
        self.assertEqual(self.database("dbname = d"),
                         ["driver = mysql", "hosts = localhost", "name = d"])
        self.assertEqual(self.database("dbpath = /m.sqlite"),
                         ["driver = sqlite", "path = /m.sqlite"])
        self.assertIn("different accounts", self.database("user = a", "user = b"))

    def test_other_database(self):
        one = self.write("one.cf", "dbname = a\nquery = SELECT 1 FROM t\n")
        two = self.write("two.cf", "dbname = b\nquery = SELECT 1 FROM t\n")
        done = run("import-maps", one, two)
        self.assertEqual(done.returncode, DATA)
        self.assertIn(f"{two}: is about another host or database", done.stderr)
        self.assertIn("[map one]", done.stdout)
        self.assertNotIn("[map two]", done.stdout)

    def test_json(self):
        done = run("--json", "import-maps", f"{FIXTURES}/cf/mysql_virtual_alias_maps.cf")
        self.assertEqual(done.returncode, 0)
        self.assertIn('{"text": "', done.stdout)

    # What is refused

    def test_refused_queries(self):
        for sql, reason in (
                ("SELECT a FROM t WHERE b = %s", "%s stands outside quotes"),
                ("SELECT a FROM t WHERE b = '%x'", "%x is unknown"),
                ("SELECT a FROM t WHERE b = %x", "%x is unknown"),
                ("SELECT a FROM t WHERE b = '%'", "is unknown"),
                ("SELECT a FROM `%d` WHERE b = '%s'", "name of a table or column"),
                ("SELECT a FROM t WHERE b = N'%s'", "prefix"),
                ("SELECT a FROM t WHERE b = 'x\\%s'", "backslash"),
                ("SELECT a FROM t WHERE b = '%s", "never closed"),
                ("SELECT a FROM t WHERE b = ?", "bare '?'"),
                ("SELECT a FROM t WHERE b = :b", "':' before a name"),
                ("SELECT a FROM t -- WHERE b = '%s'", "comment"),
                ("SELECT a FROM t # WHERE b = '%s'", "comment"),
                ("SELECT a /* x */ FROM t", "comment"),
                ("SELECT a FROM t; DROP TABLE t", "more than one statement"),
                ("CALL find('%s')", "stored procedures"),
                ("UPDATE t SET a = '%s'", "only SELECT"),
                ("", "only SELECT"),
                ("SELECT '%s1','%s2','%s3','%s4','%s5','%s6'", "more than 5 different"),
                ("SELECT '" + "x" * 1100 + "'", "too long"),
                ("SELECT \"a\" FROM t WHERE `b\"` = 'x' AND c = '%s'", "both kinds of quotes")):
            self.refused(f"user = u\nquery = {sql}\n", reason, 2)
        self.refused("query = SELECT a FROM t WHERE b = '%s'::text\n", "':' before a name", 1,
                     "pgsql_t.cf")
        self.refused('query = SELECT a FROM "%d"\n', "name of a table", 1, "pgsql_t.cf")
        for columns in ("a, b", "*", "t.*"):
            self.refused(f"query = SELECT {columns} FROM t WHERE b = '%s'\n", "first column", 1,
                         "sqlite_t.cf")
        self.section("query = SELECT max(a, b) || ',' FROM t, u WHERE b = '%s'\n", "sqlite_u.cf")

    def test_refused_options(self):
        query = "query = SELECT a FROM t WHERE b = '%s'\n"
        for line, reason in (("result_format = %q", "%q is unknown"),
                             ("expansion_limit = many", "expansion_limit"),
                             ("expansion_limit = -1", "expansion_limit"),
                             ("require_result_set = perhaps", "require_result_set"),
                             ("domain = hash:/etc/domains", "plain domain"),
                             ("domain = !a.test", "plain domain"),
                             ("option_file = /etc/my.cnf", "option_file cannot"),
                             ("tls_key_file = /k", "tls_key_file cannot"),
                             ("hosts = unix:relative", "not an absolute path"),
                             ("password = 'a\"b", "both kinds of quotes"),
                             ("query = again", "a second time"),
                             ("nonsense", "name = value"),
                             ("two words = x", "name = value")):
            self.refused(f"{query}{line}\n", reason, 2)
        self.refused("table = t\nselect_field = a\n", "neither a query nor a where_field", 0)
        self.refused("user = u\n", "neither a query", 0)
        self.refused("  query = x\n", "continues nothing", 1)

    def test_refused_words(self):
        path = self.write("t.cf", "query = SELECT 1 FROM t\n")
        self.write("a b.cf", "query = SELECT 1 FROM t\n")
        for words, reason in (([f"{self.folder}/absent"], "No such file"),
                              ([self.folder], "directory"),
                              ([f"hash:{path}"], "not in SQL"),
                              ([f"nosuch_maps={path}"], "not a parameter"),
                              ([f"{self.folder}/a b.cf"], "name cannot be a map's"),
                              ([path, path], "there is a map t already")):
            done = run("import-maps", *words)
            self.assertEqual(done.returncode, DATA, words)
            self.assertIn(reason, done.stderr)
        self.assertEqual(run("import-maps").returncode, USAGE)


TABLES = """
CREATE TABLE alias (address VARCHAR(255), goto TEXT, domain VARCHAR(255), active INT, n DECIMAL(9,2),
                    seen DATETIME);
INSERT INTO alias VALUES
 ('sales@example.com', 'alice@example.com', 'example.com', 1, 1.5, '2026-01-02 03:04:05'),
 ('sales@example.com', 'bob@example.com,carol@example.com', 'example.com', 1, -2, NULL),
 ('sales@example.com', NULL, 'example.com', 1, 0, NULL), ('sales@example.com', '', '', 1, 7, NULL),
 ('Mixed@Example.COM', 'mixed', 'Example.COM', 1, 1, NULL), ('off@example.com', 'x', '', 0, 1, NULL),
 ('null@example.com', NULL, NULL, 1, NULL, NULL), ('empty@example.com', '', '', 1, 1, NULL),
 ('@example.com', 'all@example.com', 'example.com', 1, 1, NULL), ('bare', 'b', '', 1, 1, NULL),
 ('example.com', 'the domain', '', 1, 1, NULL), ('o''brien@example.com', 'ob', '', 1, 1, NULL),
 ('"a b"@example.com', 'quoted', '', 1, 1, NULL), ('100%@example.com', 'per%cent', '', 1, 1, NULL),
 ('back\\\\slash@example.com', 'b\\\\s', '', 1, 1, NULL), ('a{b}@example.com', '{x}', '', 1, 1, NULL),
 ('dom@example.com', '@other.test', '', 1, 1, NULL), ('müller@example.com', 'mü', '', 1, 1, NULL),
 ('x@sub.example.co.uk', 'deep', '', 1, 1, NULL), ('xsales@example.com', 'x-sales', '', 1, 1, NULL),
 ('many@example.com', '1', '', 1, 1, NULL), ('many@example.com', '2', '', 1, 1, NULL),
 ('many@example.com', '3', '', 1, 1, NULL), ('many@example.com', '4', '', 1, 1, NULL);
CREATE TABLE domain (domain VARCHAR(255), description VARCHAR(255));
INSERT INTO domain VALUES ('example.com', 'Example'), ('blank.test', ' '), ('empty.test', '');
CREATE TABLE mailbox (username VARCHAR(255), quota BIGINT);
INSERT INTO mailbox VALUES ('alice@example.com', 1048576), ('zero@example.com', 0);
CREATE TABLE domains (domain VARCHAR(255));
INSERT INTO domains VALUES ('example.com');
CREATE TABLE forwardings (source VARCHAR(255), destination TEXT);
INSERT INTO forwardings VALUES ('sales@example.com', 'alice@example.com');
CREATE TABLE users (email VARCHAR(255));
INSERT INTO users VALUES ('alice@example.com');
"""

QUERIES = {
    "plain": "query = SELECT goto FROM alias WHERE address = '%s' AND active = 1",
    "legacy": "table = alias\nselect_field = goto\nwhere_field = address\n"
              "additional_conditions = AND active = '1' AND '%d' <> 'co.uk'",
    "columns": "query = SELECT address, goto, n, seen, active FROM alias WHERE address = '%s'",
    "local": "query = SELECT '%u', '%U' FROM domain LIMIT 1",
    "domain": "query = SELECT '%d' FROM domain LIMIT 1",
    "labels": "query = SELECT '%2', '%1', '%D' FROM domain LIMIT 1",
    "third": "query = SELECT '%3' FROM domain LIMIT 1",
    "joined": "query = SELECT goto FROM alias WHERE address = '%u@%d'",
    "prefixed": "query = SELECT goto FROM alias WHERE address = 'x%s'",
    "quotes": "query = SELECT \"it's 5 %% \", 'a\\\\tb''c%%', '%s''s' FROM domain LIMIT 1",
    "like": "query = SELECT address FROM alias WHERE address LIKE '%%%s%%' ORDER BY 1",
    "likedomain": "query = SELECT goto FROM alias WHERE address LIKE '%%@%d' ORDER BY 1",
    "percent": "query = SELECT '%%', 7 %% 4, '%s' FROM domain LIMIT 1",
    "format": "query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = <%s|%S>%%",
    "format_parts": "query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = %u at %d",
    "format_key": "query = SELECT goto FROM alias WHERE address = '%s'\n"
                  "result_format = %U{%D}%1,%2:%s",
    "format_none": "query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = OK",
    "limited": "query = SELECT goto FROM alias WHERE address = '%s'\nexpansion_limit = 2",
    "domains": "query = SELECT goto FROM alias WHERE address = '%s'\n"
               "domain = other.test, Example.com",
    "in": "query = SELECT goto FROM alias WHERE address IN ('%s', '@%d') ORDER BY address DESC",
    "union": "query = SELECT goto FROM alias WHERE address = '%s' UNION SELECT destination FROM "
             "forwardings WHERE source = '%s'",
}

KEYS = """sales@example.com
SALES@Example.com
sales+ext@example.com
Mixed@Example.COM
mixed@example.com
off@example.com
null@example.com
empty@example.com
many@example.com
nobody@example.com
@example.com
example.com
Example.COM
blank.test
empty.test
com
bare
bare@
@
a@b@example.com
o'brien@example.com
"a b"@example.com
a b@example.com
100%@example.com
%@example.com
_ales@example.com
back\\slash@example.com
\\
a{b}@example.com
dom@example.com
müller@example.com
MÜLLER@example.com
x@sub.example.co.uk
x@sub..uk
x@.uk
' OR '1'='1
'; DROP TABLE alias; --
alice@example.com
zero@example.com
<>
*""".splitlines()


class SideBySide(unittest.TestCase):
    """The imported maps against Postfix's own mysql: tables, key by key."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="test_import_maps.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)  # the server has another user
        cls.server = mariadb.MariaDB(f"{cls.folder}/db").start()
        cls.addClassCleanup(cls.server.stop)
        cls.server.run(TABLES, "mail")
        os.mkdir(f"{cls.folder}/postfix")
        with open(f"{cls.folder}/postfix/main.cf", "w", encoding="ascii") as main:
            main.write("compatibility_level = 3.6\ninet_protocols = ipv4\n")

    @classmethod
    def table(cls, name, text):
        path = f"{cls.folder}/{name}.cf"
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"hosts = unix:{cls.server.socket}\nuser = {cls.server.user}\n"
                      f"password = {cls.server.password}\ndbname = {cls.server.database}\n{text}\n")
        return path

    def postmap(self, path, key):
        done = subprocess.run(["postmap", "-c", f"{self.folder}/postfix", "-q", key,
                               f"mysql:{path}"], env=dict(os.environ, PATH=PATH), check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, text=True)
        if "fatal" in done.stderr:
            return "error"
        self.assertIn(done.returncode, (0, 1), done)
        return done.stdout if done.returncode == 0 else "none"

    def compare(self, tables):
        done = run("import-maps", *tables)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # postmap asks one key, so the maps here shall do no more.
        text = re.sub(r"^(key|search|append_extension) = .*\n", "", done.stdout,
                      flags=re.MULTILINE)
        config = f"{self.folder}/postern.ini"
        with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as out:
            out.write(text)
        names = re.findall(r"\[map (.*)\]", text)
        self.assertEqual(len(names), len(tables))
        found = 0
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # a failing postmap sleeps a second
            for name, path in zip(names, tables):
                for key, theirs in zip(KEYS, pool.map(functools.partial(self.postmap, path), KEYS)):
                    ours = run("-c", config, "lookup", "--", name, key)
                    answer = {0: ours.stdout, 1: "none", DATA: "error"}.get(ours.returncode, ours)
                    self.assertEqual(answer, theirs, (name, key))
                    found += theirs not in ("none", "error")
        return found

    def test_queries(self):
        found = self.compare([self.table(name, text) for name, text in QUERIES.items()])
        self.assertGreater(found, 200)

    def test_howto_files(self):
        for group in ("mysql_", "mysql-"):
            tables = []
            for file in sorted(glob.glob(f"{FIXTURES}/cf/{group}*.cf")):
                with open(file, encoding="ascii") as source:
                    text = re.sub(r"^(hosts|user|password|dbname) = .*\n", "", source.read(),
                                  flags=re.MULTILINE)
                tables.append(self.table(os.path.basename(file)[:-3], text))
            self.assertEqual(len(tables), 4)
            self.assertGreater(self.compare(tables), 3)


if __name__ == "__main__":
    result = unittest.main(verbosity=0, exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
