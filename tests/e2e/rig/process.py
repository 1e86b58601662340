"""Processes that tests start: readiness by NOTIFY_SOCKET, an end by pid, and their logs."""

import os
import select
import signal
import socket
import subprocess
import time


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, seconds=60.0):
    """Polls CONDITION until it is true and returns its value; fails with WHAT after SECONDS."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.02)


class Daemon:
    """One of our daemons in the foreground. It counts as started when it said READY=1."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.argv = argv
        self.folder = folder
        self.log_path = os.path.join(folder, f"{name}.log")
        self.env = dict(os.environ, **(env or {}))
        self.process = None

    def start(self, seconds=60.0):
        notify_path = os.path.join(self.folder, f"{self.name}.notify")
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(notify_path)
            os.chmod(notify_path, 0o666)
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=dict(self.env, NOTIFY_SOCKET=notify_path), cwd=self.folder,
                    close_fds=False)
            self._wait_ready(notify, time.monotonic() + seconds)
        return self

    def _wait_ready(self, notify, end):
        while True:
            readable, _, _ = select.select([notify], [], [], 0.1)
            if readable and b"READY=1" in notify.recv(4096):
                return
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} left with {self.process.returncode}: {self.log_tail()}")
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"{self.name} did not become ready: {self.log_tail()}")

    def stop(self, seconds=60.0):
        """SIGTERM, then the exit code; a daemon that does not leave in time is killed and fails."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not leave on SIGTERM: {self.log_tail()}") from None
        code, self.process = self.process.returncode, None
        return code

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number):
        self.process.send_signal(number)

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def log_tail(self):
        return "\n".join(self.log().splitlines()[-25:])


def run(argv, **options):
    """Runs to the end and returns the CompletedProcess, output as text, with a time limit."""
    options.setdefault("timeout", 60)
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if options["stdin"] is None:
        del options["stdin"]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", errors="surrogateescape", check=False, **options)


class NotHere(Exception):
    """This machine's kernel does not allow what a test needs: the test is skipped, and says why."""


def check(argv, **options):
    """run(), and fails unless the exit code is 0. Returns stdout."""
    done = run(argv, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
