"""strace(1) as a saboteur: it kills a process or fails its system calls at a chosen moment."""

import re
import subprocess

def traced(argv, output):
    """ARGV under strace -f, its calls in the file OUTPUT."""
    return ["strace", "-f", "-qq", "-o", output, *argv]


def calls(path, since=None):
    """
    {name of call: (number of the first, number of the last)} of any one thread, from a file that
    traced() wrote; counting begins with the line that holds SINCE.
    """
    ranges, counts, begun = {}, {}, since is None
    with open(path, encoding="utf-8", errors="replace") as text:
        for line in text:
            found = re.match(r"(\d+)\s+(\w+)\(", line)
            if not found:
                continue
            begun = begun or since in line
            thread, name = found.groups()
            number = counts[thread, name] = counts.get((thread, name), 0) + 1
            if begun:
                first, last = ranges.get(name, (number, number))
                ranges[name] = (min(first, number), max(last, number))
    return ranges


def injecting(call, what, when, argv):
    """ARGV under strace, which does WHAT ("signal=KILL", "error=EIO") at each thread's WHENth CALL."""
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace=?{call}", "-e",
            f"inject=?{call}:{what}:when={when}", *argv]


class Strace:
    """Attached to the process PID with all its threads until stop()."""

    def __init__(self, pid, *options, output="/dev/null", seconds=20.0):
        self.process = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), "-o", output, *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
        said = self.process.stderr.readline()  # one line when all threads are attached
        if "attached" not in said:
            self.process.wait(seconds)
            raise AssertionError(f"strace: {said}{self.process.stderr.read()}")

    def wait(self):
        """Until the process has ended; to be told to let go of a dying one makes strace hang."""
        self.process.wait(20)

    def stop(self):
        """Lets go; the process runs on."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()
