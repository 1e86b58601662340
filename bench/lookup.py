#!/usr/bin/python3
"""
Measures postfix-lookup beside its peers, both sides in one run. Started by scripts/bench, which
builds; bench/README.md says how to read it.

    lookup.py --build DIR [--quick] [--rounds N]

Exit: 0 all targets met, 1 some missed, 2 not everything could be measured.
"""

import contextlib
import os
import random
import resource
import shutil
import socket
import statistics
import sys
import time

import report
import sides
from report import say, table

MIB = 1 << 20
SMALL, LARGE = 100_000, 10_000_000
CLIENTS = (1, 4, 8)
BUSY = (4, 8)  # where most is compared
MAP = "virtual_mailbox_maps"
IDLE = 10_000
NEW_CLIENTS = 1000
# Longer than the run: what is measured as cached is cached.
FOREVER = {"positive_ttl": "1h", "negative_ttl": "1h", "cache_size": "256M"}
NEVER = {"positive_ttl": "0", "negative_ttl": "0"}
# Maps with which the cache is filled, in this order, until it must be full.
FILL = (MAP, "virtual_alias_maps", "home", "quota", "uid", "gid", "transport_maps")


class Bench:
    def __init__(self, folder, arguments):
        self.folder, self.build, self.quick = folder, arguments.build, arguments.quick
        self.rounds = arguments.rounds or (3 if self.quick else 5)
        # Keys of one client: enough that its start does not count.
        self.short, self.long = (5_000, 30_000) if self.quick else (12_000, 80_000)
        self.rates = {}   # (side, clients): lookups per second, one for each round
        self.costs = {}   # (side, clients): [(who, processor seconds per lookup)]
        self.rows = []    # (what, target, measured, met)
        self.notes = []
        self.stack = contextlib.ExitStack()

    # Keys

    def key_files(self, name, lists):
        names = []
        for i, numbers in enumerate(lists):
            names.append(os.path.join(self.folder, f"keys-{name}-{i}"))
            with open(names[-1], "w", encoding="ascii") as out:
                out.writelines(f"{sides.address(number)}\n" for number in numbers)
        return names

    def write_keys(self):
        """The same shuffled keys for every side; the short files are the heads of the long ones."""
        shuffle = random.Random(20261121)
        lists = [shuffle.sample(range(SMALL), self.long) for _ in range(max(CLIENTS))]
        self.long_keys = self.key_files("long", lists)
        self.short_keys = self.key_files("short", [keys[:self.short] for keys in lists])
        numbers = shuffle.sample(range(SMALL), SMALL)
        self.all_keys = self.key_files("all", [numbers[i::8] for i in range(8)])
        lists = [shuffle.sample(range(LARGE), self.short) for _ in range(max(CLIENTS))]
        self.large_keys = self.key_files("large", lists)

    # One measurement

    def measure(self, side, table, key_files, processes=dict):
        """One round. PROCESSES() names the processes that work for it: {who: ids}."""
        groups = {"mariadbd": [self.database.server.pid], **processes()}
        before = {who: sides.processor_seconds(pids) for who, pids in groups.items()}
        queries = self.database.queries()
        seconds, client_cpu, outputs = sides.ask(self.postfix.config, table, key_files, self.folder)
        queries = self.database.queries() - queries
        lookups = sum(count_lines(name) for name in outputs)
        asked = sum(count_lines(name) for name in key_files)
        if lookups != asked:
            raise AssertionError(f"{side}: {asked} keys, {lookups} answers")
        groups.update(processes())  # some may be new
        key = side, len(key_files)
        self.rates.setdefault(key, []).append(lookups / seconds)
        spent = {who: (sides.processor_seconds(pids) - before[who]) / lookups
                 for who, pids in groups.items()}
        self.costs[key] = {"postmap": client_cpu / lookups, **spent, "queries": queries / lookups}
        return outputs

    def rate(self, side, clients):
        return statistics.median(self.rates[side, clients])

    def compare(self, what, left, right, clients, target):
        ratio = self.rate(left, clients) / self.rate(right, clients)
        self.row(what, f">= {target:g} x {right}",
                 f"{ratio:.2f} x  ({self.rate(left, clients):,.0f} / "
                 f"{self.rate(right, clients):,.0f} per s)", ratio >= target)

    def row(self, what, target, measured, met):
        self.rows.append((what, target, measured, met))

    # Parts

    def prepare(self, pool_mib):
        say(f"database: {SMALL:,} mailboxes")
        self.database = self.stack.enter_context(sides.Database(self.folder, pool_mib))
        self.database.load("small", SMALL, aliases=True)
        self.postfix = self.stack.enter_context(
            sides.PrivatePostfix(self.folder, self.database))
        self.null = self.stack.enter_context(
            sides.NullServer(self.folder, self.build, "null_socketmap", f"OK {sides.path(0)}"))
        self.relay = self.stack.enter_context(
            sides.null_relay(self.folder, self.build, self.database, "small"))
        self.write_keys()

    def daemon(self, name, **lookup):
        return sides.lookup_daemon(self.folder, self.build, self.database, name, **lookup)

    def warm_up(self, cached, uncached):
        """Every page and every answer once; and all sides must say the same."""
        sides.ask(self.postfix.config, cached.table(MAP), self.all_keys, self.folder)
        said = {}
        for side, table in (("cached", cached.table(MAP)), ("uncached", uncached.table(MAP)),
                            ("null relay", self.relay.table(MAP)),
                            ("mysql:", f"mysql:{self.postfix.map_path}"),
                            ("proxy:mysql:", f"proxy:mysql:{self.postfix.map_path}")):
            outputs = sides.ask(self.postfix.config, table, self.short_keys, self.folder)[2]
            said[side] = b"".join(read(name) for name in outputs)
        if len(set(said.values())) != 1 or not said["cached"]:
            raise AssertionError(f"the sides do not answer alike: { {k: len(v) for k, v in said.items()} }")

    def run_rates(self):
        proxy = f"proxy:mysql:{self.postfix.map_path}"
        direct = f"mysql:{self.postfix.map_path}"
        master = os.path.join(self.postfix.postfix.queue, "pid", "master.pid")
        with open(master, encoding="ascii") as pid_file:
            master = int(pid_file.read())

        def proxies():
            return {"proxymap": list(sides.children(master, "proxymap"))}

        with self.daemon("small", **FOREVER) as cached, self.daemon("small", **NEVER) as uncached:
            say("warming up, comparing answers")
            self.warm_up(cached, uncached)
            runs = []
            for count in CLIENTS:
                runs += [
                    ("null server", self.null.table(MAP), self.long_keys[:count],
                     lambda: {"null server": [self.null.pid]}),
                    ("cached", cached.table(MAP), self.long_keys[:count],
                     lambda: {"postfix-lookup": [cached.pid]}),
                    ("proxy:mysql:", proxy, self.short_keys[:count], proxies),
                ]
                if count in BUSY:
                    runs += [
                        ("null relay", self.relay.table(MAP), self.short_keys[:count],
                         lambda: {"null relay": [self.relay.pid]}),
                        ("uncached", uncached.table(MAP), self.short_keys[:count],
                         lambda: {"postfix-lookup": [uncached.pid]}),
                        ("mysql:", direct, self.short_keys[:count], dict),
                    ]
            for number in range(self.rounds):
                say(f"round {number + 1} of {self.rounds}")
                # Every other round backwards, so that nobody always follows the same neighbour.
                for run in runs if number % 2 == 0 else reversed(runs):
                    self.measure(*run)
        for count in BUSY:
            self.compare(f"cached, {count} clients", "cached", "null server", count, 0.8)
        self.compare("cached, 8 clients", "cached", "proxy:mysql:", 8, 8)
        self.compare("uncached, 8 clients", "uncached", "proxy:mysql:", 8, 1.5)
        self.compare("uncached, 8 clients", "uncached", "mysql:", 8, 0.6)

    def to_be_had(self):
        """What the servers that do the least have, and what ours has of that."""
        for count in BUSY:
            for what, whole, part in (("cached", "proxy:mysql:", "null server"),
                                      ("uncached", "proxy:mysql:", "null relay"),
                                      ("uncached", "mysql:", "null relay"),
                                      ("uncached", "null relay", "uncached")):
                yield (f"{what}, {count} clients", self.rate(whole, count), whole,
                       "ours" if part == what else part, self.rate(part, count))

    def run_large(self):
        say(f"database: {LARGE:,} mailboxes (some minutes)")
        start = time.monotonic()
        self.database.load("large", LARGE, aliases=False)
        say(f"loaded in {time.monotonic() - start:.0f} s")
        with self.daemon("small", **NEVER) as small, self.daemon("large", **NEVER) as large:
            runs = [("100,000 mailboxes", small.table(MAP), self.short_keys,
                     lambda: {"postfix-lookup": [small.pid]}),
                    ("10,000,000 mailboxes", large.table(MAP), self.large_keys,
                     lambda: {"postfix-lookup": [large.pid]})]
            for _, table, keys, _ in runs:
                sides.ask(self.postfix.config, table, keys, self.folder)
            for number in range(self.rounds):
                say(f"10 million: round {number + 1} of {self.rounds}")
                for run in runs if number % 2 == 0 else reversed(runs):
                    self.measure(*run)
        left, right = runs[1][0], runs[0][0]
        self.compare("10 million mailboxes, uncached", left, right, 8, 0.8)

    def run_idle(self):
        say(f"{IDLE:,} idle connections")
        with self.daemon("small", max_connections=IDLE + 100) as server, \
                contextlib.ExitStack() as idle:
            alone = sides.resident_kib(server.pid)
            for number in range(IDLE):
                client = idle.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(30)
                client.connect(server.socket)
                ask_once(client, number)
            resident = sides.resident_kib(server.pid) / 1024
            latencies = sorted(new_client(server.socket, IDLE + i) for i in range(NEW_CLIENTS))
        p50, p99, worst = (latencies[int(len(latencies) * part)] * 1000
                           for part in (0.5, 0.99, 0.9999))
        self.row(f"{IDLE:,} idle connections: resident", "< 100 MiB",
                 f"{resident:.1f} MiB  ({alone / 1024:.1f} without them)", resident < 100)
        self.row(f"{IDLE:,} idle connections: a new client", "< 5 ms (p99)",
                 f"{p99:.2f} ms  (median {p50:.2f}, worst of {len(latencies)} {worst:.2f})", p99 < 5)

    def run_full_cache(self):
        size = 16 if self.quick else 24
        say(f"filling a cache of {size} MiB")
        limit = size * 1.3 + 20
        keys = dict(FOREVER, cache_size=f"{size}M")
        asked = 0
        with self.daemon("small", **keys) as server:
            empty = sides.resident_kib(server.pid) / 1024
            for name in FILL:
                outputs = sides.ask(self.postfix.config, server.table(name), self.all_keys,
                                    self.folder)[2]
                # Keys and answers alone, without anything the cache needs for itself.
                asked += (len(name) + 1) * SMALL + sum(os.path.getsize(o) for o in outputs)
                if asked > 1.2 * size * MIB:
                    break
            else:
                raise AssertionError(f"{asked} bytes do not fill the cache")
            resident = sides.resident_kib(server.pid) / 1024
        self.row(f"resident with a full cache of {size} MiB", f"<= {limit:.1f} MiB",
                 f"{resident:.1f} MiB  ({empty:.1f} empty)", resident <= limit)

    # The report

    def report(self):
        print()
        report.machine(self.load)
        print(f"Versions: Postfix {report.postfix_version()}, MariaDB {self.database.version()}; "
              f"buffer pool {self.pool_mib} MiB")
        print(f"Medians of {self.rounds} rounds; clients: postmap -q -; map: {MAP}; "
              f"{SMALL:,} mailboxes in {SMALL // sides.PER_DOMAIN:,} domains\n")
        report.verdicts(self.rows)
        print()
        report.to_be_had(self.to_be_had())
        print()
        table([("lookups per second", "clients", "median", "least", "most")]
              + [(side, str(count), f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}",
                  f"{max(rates):,.0f}") for (side, count), rates in sorted(self.rates.items())])
        print()
        whos = ("postmap", "null server", "null relay", "postfix-lookup", "proxymap", "mariadbd")
        table([("microseconds of processor time a lookup", "clients", *whos, "queries")]
              + [(side, str(count),
                  *(f"{cost[who] * 1e6:.1f}" if who in cost else "-" for who in whos),
                  f"{cost['queries']:.2f}") for (side, count), cost in sorted(self.costs.items())])
        for note in self.notes:
            print(f"\n{note}")
        sys.stdout.flush()

    def run(self):
        self.load = os.getloadavg()
        large = not self.quick and self.room_for_large()
        self.pool_mib = 6144 if large else 512
        with self.stack:
            self.prepare(self.pool_mib)
            self.run_rates()
            self.run_idle()
            self.run_full_cache()
            if large:
                self.run_large()
            self.report()
        return 2 if self.notes and not self.quick else int(not all(row[3] for row in self.rows))

    def room_for_large(self):
        disk = shutil.disk_usage(self.folder).free / 1e9
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 1e9
        if disk < 10 or memory < 8:
            self.notes.append(f"10 million mailboxes: not measured, {disk:.0f} GB of disk and "
                              f"{memory:.0f} GB of memory are free; it takes 10 and 8")
            return False
        return True


def allow_descriptors(wanted):
    """For us and the programs we start."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            sys.exit(f"bench: {wanted} open files are needed, {hard} are allowed here (ulimit -Hn)")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def read(name):
    with open(name, "rb") as source:
        return source.read()


def count_lines(name):
    return read(name).count(b"\n")


def ask_once(client, number):
    request = f"{MAP} {sides.address(number)}".encode()
    client.sendall(b"%d:%s," % (len(request), request))
    reply = client.recv(4096)
    if not reply.endswith(f"OK {sides.path(number)},".encode()):
        raise AssertionError(f"a wrong answer: {reply!r}")


def new_client(name, number):
    start = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(name)
        ask_once(client, number)
        return time.perf_counter() - start


def main():
    arguments = report.arguments_of(report.parser(
        "Measures postfix-lookup beside its peers.", "shorter, and without the 10 million mailboxes"))
    allow_descriptors(IDLE + 1000)

    def make_bench(folder):
        bench = Bench(folder, arguments)
        if arguments.quick:
            bench.notes.append("10 million mailboxes: not measured (--quick)")
        return bench
    return report.run(make_bench)


if __name__ == "__main__":
    sys.exit(main())
