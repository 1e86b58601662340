#!/usr/bin/env python3
"""Runs the end-to-end tests: `run.py [--sanitized address|thread] [NAME...]`.

A test is a function test_* of a module test_*.py in this folder; NAME selects modules (without
"test_" and ".py") or single functions. Each module runs in a process of its own. --sanitized runs
the modules whose SANITIZED names that sanitizer: those worth their time under it. Environment:
POSTERN_BUILD, the build directory of the programs; POSTERN_PLUGIN_BUILD, that of the SASL plugin.
"""

import argparse
import concurrent.futures
import importlib
import os
import re
import signal
import subprocess
import sys
import time
import traceback

from rig.process import NotHere

HERE = os.path.dirname(os.path.abspath(__file__))


def modules():
    return sorted(name[:-3] for name in os.listdir(HERE) if re.fullmatch(r"test_\w+\.py", name))


def functions(module):
    return [name for name in vars(module) if name.startswith("test_") and callable(vars(module)[name])]


def run_module(name, wanted):
    """In the module's own process: one line a test."""
    module = importlib.import_module(name)
    failed = 0
    for function in functions(module):
        if wanted and function not in wanted:
            continue
        started = time.monotonic()
        try:
            vars(module)[function]()
            print(f"ok {name}.{function} ({time.monotonic() - started:.1f} s)", flush=True)
        except NotHere as reason:
            print(f"skipped {name}.{function}: {reason}", flush=True)
        except Exception:  # a test that fails any way at all has failed; the next one still runs
            failed += 1
            print(f"{traceback.format_exc()}FAILED {name}.{function}", flush=True)
    return failed


children = []


def run_apart(name, wanted):
    """A module in a process of its own: its exit code and output."""
    with subprocess.Popen([sys.executable, __file__, "--module", name, *wanted],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as child:
        children.append(child)
        output = child.communicate()[0].decode("utf-8", "replace")
    return child.returncode, output


def stop(*unused):
    """What tests have started ends with them, also when somebody ends the tests."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    sys.exit(143)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sanitized", choices=("address", "thread"))
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--module", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    sys.path.insert(0, HERE)
    if os.geteuid() != 0:
        sys.exit("run.py: a private Postfix needs root")
    signal.signal(signal.SIGTERM, stop)
    if arguments.module:
        sys.exit(1 if run_module(arguments.module, arguments.names) else 0)
    selected = []
    for name in modules():
        module = importlib.import_module(name)
        wanted = [test for test in functions(module)
                  if {test, test[5:]} & set(arguments.names)]
        if arguments.names and not wanted and not {name, name[5:]} & set(arguments.names):
            continue
        if arguments.sanitized and arguments.sanitized not in getattr(module, "SANITIZED", ()):
            continue
        selected.append((name, wanted or functions(module), wanted))
    if not selected:
        sys.exit("run.py: no such test")
    passed = failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [(name, tests, pool.submit(run_apart, name, wanted))
                for name, tests, wanted in selected]
        for name, tests, future in runs:
            code, output = future.result()
            print(output, end="", flush=True)
            good = len(re.findall(rf"^ok {name}\.", output, re.MULTILINE))
            left = len(re.findall(rf"^skipped {name}\.", output, re.MULTILINE))
            bad = len(re.findall(rf"^FAILED {name}\.", output, re.MULTILINE))
            if good + bad + left != len(tests):
                print(f"{name} ended with {code} before all its tests had run")
            passed += good
            failed += len(tests) - good - left
            skipped += left
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
