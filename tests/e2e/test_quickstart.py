"""The newcomer's first command: it succeeds, shows what it promises, and loses nothing when repeated."""

import os
import re
import subprocess
import tempfile
import time

from rig import BUILD, TOP
from rig.process import run


def quickstart(folder, *arguments):
    return run([os.path.join(TOP, "scripts", "quickstart"), *arguments, "--folder", folder,
                "--build", BUILD], timeout=300)


def processes_below(folder):
    found = subprocess.run(["pgrep", "-af", folder], stdout=subprocess.PIPE, encoding="utf-8",
                           check=False).stdout
    return [line for line in found.splitlines() if "pgrep" not in line]


def test_quickstart_twice_and_stop():
    with tempfile.TemporaryDirectory(prefix="postern-quickstart-") as parent:
        os.chmod(parent, 0o755)
        folder = os.path.join(parent, "host")
        try:
            first = quickstart(folder)
            assert first.returncode == 0, first.stdout + first.stderr
            for promised in ("235 ", "535 ", "553 ", "550 ", "alice@example.test", "bob@example.test",
                             "Subject: Hello"):
                assert promised in first.stdout, f"{promised!r} is not in:\n{first.stdout}"
            with open(os.path.join(folder, "postern.ini"), encoding="utf-8") as settings:
                assert TOP not in settings.read(), "the clone may be closed to the helpers' user"
            passwords = re.findall(r"has the password (\S+)", first.stdout)
            assert len(passwords) == 2, first.stdout
            started = time.monotonic()
            second = quickstart(folder)
            seconds = time.monotonic() - started
            assert second.returncode == 0, second.stdout + second.stderr
            assert seconds < 20, f"the second run took {seconds:.0f} s"
            assert not any(password in second.stdout for password in passwords), "printed once"
            mail = os.path.join(folder, "mail", "example.test", "bob", "new")
            seen = os.path.join(folder, "mail", "example.test", "bob", "cur")
            assert len(os.listdir(mail)) + len(os.listdir(seen)) == 2, "nothing is lost"
        finally:
            stopped = quickstart(folder, "stop")
        assert stopped.returncode == 0, stopped.stderr
        assert not processes_below(folder), processes_below(folder)
