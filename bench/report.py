"""What the reports of scripts/bench have in common: tables, the machine, the usual command line."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import sides


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def verdicts(rows):
    """ROWS: (what, target, measured, whether it is met)."""
    table([("", "target", "measured", "verdict")]
          + [(what, target, measured, "met" if met else "MISSED")
             for what, target, measured, met in rows])


def to_be_had(rows):
    """ROWS: (what, rate, whose it is, who is compared, its rate): information, no verdict."""
    table([("what is to be had here", "per second", "against it")]
          + [(what, f"{rate:,.0f}  ({whose})", f"{who} {had / rate:.2f} x  ({had:,.0f} per s)")
             for what, rate, whose, who, had in rows])


def machine(load):
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    print(f"Machine: {os.cpu_count()} cores, {model}; {platform.system()} "
          f"{platform.release()}; load at start {load[0]:.2f}")
    if load[0] > 0.5:
        print("Others are at work on this machine: take the figures for hints.")


def postfix_version():
    return subprocess.run(["postconf", "-dh", "mail_version"], stdout=subprocess.PIPE,
                          encoding="ascii", check=True).stdout.strip()


def parser(description, quick):
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--build", required=True, help="the folder of the built programs")
    result.add_argument("--quick", action="store_true", help=quick)
    result.add_argument("--rounds", type=int, help="of each measurement (5, quick: 3)")
    return result


def arguments_of(result):
    arguments = result.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    if arguments.rounds is not None and arguments.rounds < 1:
        result.error("--rounds: at least 1")
    if os.geteuid() != 0:
        result.error("a private Postfix needs root")
    sides.end_on_signals()
    return arguments


def run(make_bench, parent=None):
    """
    Runs MAKE_BENCH(folder).run() in a private folder below PARENT (TMPDIR), which is gone
    afterwards. Returns the exit code.
    """
    folder = tempfile.mkdtemp(prefix="postern-bench-", dir=parent)
    os.chmod(folder, 0o755)
    try:
        return make_bench(folder).run()
    except KeyboardInterrupt as reason:
        say(f"interrupted: {reason}")
        return 2
    except AssertionError as problem:
        say(f"not measured: {problem}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
