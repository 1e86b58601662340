"""
postern quota: what it shows, counts and compares; that root leaves files of the mailbox's owner
only; a mailbox whose lock somebody holds.

POSTERN_TOP_BUILDDIR says where the program was built, POSTERN_SCHEMAS where the presets are.
"""

import fcntl
import json
import os
import pwd
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ.get("POSTERN_PROGRAM") or os.path.join(
    os.environ["POSTERN_TOP_BUILDDIR"], "postern", "postern")
DIFFERS, NOT_FOUND, USAGE, DATA, TEMP = 1, 1, 64, 65, 75
F_OFD_SETLK = 37


class Quota(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="test_postern_quota.")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)
        self.configure("")
        os.mkdir(f"{self.folder}/mail")
        self.good("db", "init")
        self.good("domain", "add", "example.com")
        self.good("domain", "add", "empty.test")
        for user, quota in (("alice", "1000"), ("bob", "none"), ("carol", "5G")):
            self.good("user", "add", f"{user}@example.com", "--quota", quota,
                      stdin=f"{user}-password\n")

    def configure(self, more):
        self.config = f"{self.folder}/postern.ini"
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f"[database]\npath = {self.folder}/mail.sqlite\n[mail]\n"
                      f"base = {self.folder}/mail\nowner = nobody\n{more}\n")

    def run_it(self, *arguments, stdin=None):
        return subprocess.run([PROGRAM, "-c", self.config, *arguments], input=stdin,
                              stdin=subprocess.DEVNULL if stdin is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              check=False, text=True)

    def good(self, *arguments, **options):
        done = self.run_it(*arguments, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def rows(self, verb, *words, code=0, err=""):
        done = self.run_it("--json", "quota", verb, *words)
        self.assertEqual(done.returncode, code, done)
        self.assertIn(err, done.stderr)
        return {row["address"].partition("@")[0]: row
                for row in map(json.loads, done.stdout.splitlines())}

    def maildir(self, user, *sizes):
        """Messages of these sizes, as `nobody` has them."""
        path = f"{self.folder}/mail/example.com/{user}"
        for part in ("new", "cur", "tmp"):
            os.makedirs(f"{path}/{part}", exist_ok=True)
        for number, size in enumerate(sizes):
            with open(f"{path}/new/{number}.x,S={size}", "w", encoding="ascii") as out:
                out.write("x" * size)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chmod(f"{self.folder}/mail", 0o755)
            for top, folders, files in os.walk(f"{self.folder}/mail"):
                for name in (".", *folders, *files):
                    os.chown(os.path.join(top, name), nobody.pw_uid, nobody.pw_gid)
        return path

    def test_show(self):
        path = self.maildir("alice", 100, 200)
        self.maildir("carol")
        alice = {"address": "alice@example.com", "limit": 1000, "limit_messages": None,
                 "used": None, "messages": None, "percent": None}
        self.assertEqual(self.rows("show", "alice@example.com"), {"alice": alice})
        self.assertEqual(sorted(os.listdir(path)), ["cur", "new", "tmp"])
        with open(f"{path}/maildirsize", "w", encoding="ascii") as out:
            out.write("1000S\n300 2\n455 1\n")
        os.chmod(f"{path}/maildirsize", 0o644)
        alice.update(used=755, messages=3, percent=75)
        self.assertEqual(self.rows("show", "alice+x@example.com", code=NOT_FOUND), {})
        self.assertEqual(self.rows("show", "Alice@Example.COM"), {"alice": alice})
        for words in (("example.com",), ("all",), ()):
            rows = self.rows("show", *words)
            self.assertEqual(sorted(rows), ["alice", "bob", "carol"])
            self.assertEqual(rows["alice"], alice)
            self.assertIsNone(rows["bob"]["limit"])
            self.assertIsNone(rows["bob"]["used"])
            self.assertEqual(rows["carol"]["limit"], 5 << 30)
        self.assertEqual(self.rows("show", "empty.test"), {})
        text = self.good("quota", "show", "alice@example.com")
        self.assertRegex(text, r"alice@example.com +1000 .*unlimited +755 +3 +75")

    def test_recalc(self):
        path = self.maildir("alice", 100, 200)
        bob = self.maildir("bob", 7)
        with open(f"{path}/maildirsize", "w", encoding="ascii") as out:
            out.write("1000S\n999 9\n")
        rows = self.rows("recalc", "all")
        self.assertEqual((rows["alice"]["used"], rows["alice"]["messages"],
                          rows["alice"]["percent"]), (300, 2, 30))
        # No limit: counted, but no file is kept. No Maildir yet: not known.
        self.assertEqual((rows["bob"]["used"], rows["bob"]["messages"]), (7, 1))
        self.assertEqual(sorted(os.listdir(bob)), ["cur", "new", "tmp"])
        self.assertIsNone(rows["carol"]["used"])
        self.assertFalse(os.path.exists(f"{self.folder}/mail/example.com/carol"))
        with open(f"{path}/maildirsize", encoding="ascii") as file:
            self.assertEqual(file.read(), "1000S\n         300            2\n")
        self.assertEqual(os.listdir(f"{path}/tmp"), [])
        owner = os.stat(path)
        for name in ("maildirsize", "maildirsize.lock"):
            found = os.stat(f"{path}/{name}")
            self.assertEqual((found.st_uid, found.st_gid, found.st_mode & 0o777),
                             (owner.st_uid, owner.st_gid, 0o600))
        self.assertEqual(self.rows("show", "alice@example.com")["alice"]["used"], 300)

    def test_publish_keeps_all(self):
        self.configure("[quota]\npublish = yes")
        bob = self.maildir("bob", 7)
        self.assertEqual(self.rows("recalc", "bob@example.com")["bob"]["used"], 7)
        with open(f"{bob}/maildirsize", encoding="ascii") as file:
            self.assertEqual(file.read(), "0S\n           7            1\n")
        self.assertEqual(self.rows("show", "bob@example.com")["bob"]["used"], 7)

    def test_trash(self):
        path = self.maildir("alice", 100)
        os.makedirs(f"{path}/.Trash/cur")
        with open(f"{path}/.Trash/cur/9,S=50:2,", "w", encoding="ascii"):
            pass
        os.rename(f"{path}/new/0.x,S=100", f"{path}/cur/0.x,S=100:2,T")
        self.maildir("alice", 3)
        self.assertEqual(self.rows("recalc", "alice@example.com")["alice"]["used"], 153)
        self.configure("[quota]\ntrash = skip")
        self.assertEqual(self.rows("recalc", "alice@example.com")["alice"]["used"], 3)

    def test_verify(self):
        path = self.maildir("alice", 100, 200)
        self.maildir("bob", 7)
        rows = self.rows("verify")  # nothing that could be wrong
        self.assertEqual(rows["alice"], {"address": "alice@example.com", "ok": True, "used": None,
                                         "messages": None, "counted": 300, "counted_messages": 2})
        self.assertNotIn("maildirsize", os.listdir(path))
        self.rows("recalc")
        rows = self.rows("verify")
        self.assertEqual((rows["alice"]["ok"], rows["alice"]["used"]), (True, 300))
        self.assertEqual((rows["bob"]["ok"], rows["bob"]["used"]), (True, None))
        os.unlink(f"{path}/new/0.x,S=100")
        before = os.stat(f"{path}/maildirsize")
        rows = self.rows("verify", "example.com", code=DIFFERS)
        self.assertEqual((rows["alice"]["ok"], rows["alice"]["used"], rows["alice"]["counted"]),
                         (False, 300, 200))
        self.assertEqual(rows["bob"]["ok"], True)
        self.assertEqual(os.stat(f"{path}/maildirsize").st_mtime_ns, before.st_mtime_ns)
        self.rows("recalc", "alice@example.com")
        self.rows("verify", "alice@example.com")

    def test_locked(self):
        self.configure("[quota]\nlock_timeout = 1s")
        path = self.maildir("alice", 100)
        self.maildir("carol", 5)
        self.rows("recalc")
        with open(f"{path}/maildirsize.lock", "r+", encoding="ascii") as lock:
            fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            for verb in ("recalc", "verify"):
                rows = self.rows(verb, "all", code=TEMP, err="delivered to by others")
                self.assertEqual(sorted(rows), ["bob", "carol"])  # the others are looked at
            self.assertEqual(self.rows("show", "alice@example.com")["alice"]["used"], 100)

    def test_mistakes(self):
        for words in ((), ("frobnicate",), ("show", "a", "b"), ("show", "--yes")):
            self.assertEqual(self.run_it("quota", *words).returncode, USAGE, words)
        self.rows("show", "nobody@example.com", code=NOT_FOUND, err="not found")
        self.rows("recalc", "nowhere.test", code=NOT_FOUND, err="not found")
        self.rows("verify", "no domain", code=DATA)
        path = self.maildir("alice", 100)
        os.symlink("/etc/passwd", f"{path}/maildirsize.lock")
        self.rows("recalc", "alice@example.com", code=TEMP, err="maildirsize.lock")
        os.unlink(f"{path}/maildirsize.lock")
        shutil.rmtree(path)
        os.symlink("/", path)
        self.rows("recalc", "alice@example.com", code=TEMP)


if __name__ == "__main__":
    result = unittest.main(verbosity=0, exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
