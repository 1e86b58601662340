#!/usr/bin/python3
"""
Measures lmtp-deliver beside its peers, all sides in one run. Started by scripts/bench, which
builds; bench/README.md says how to read it.

    delivery.py --build DIR [--quick] [--rounds N] [--disk DIR]

Exit: 0 all targets met, 1 some missed, 2 not everything could be measured.
"""

import contextlib
import os
import statistics
import sys
import tempfile

import delivery_sides as who
import report
import sides
from report import say, table

SMALL, LARGE = 4096, 1 << 20
SESSIONS = (1, 8, 20)
FILES = "file system"
AGENT_MARIADB = "lmtp-deliver, MariaDB"
AGENT_SQLITE = "lmtp-deliver, SQLite"


class Result:
    def __init__(self):
        self.deliveries = self.seconds = self.client = self.server = self.postfix = 0
        self.busy = self.flushes = 0

    @property
    def rate(self):
        return self.deliveries / self.seconds


class Bench:
    def __init__(self, folder, disk, arguments):
        self.folder, self.disk, self.build = folder, disk, arguments.build
        self.rounds = arguments.rounds or (3 if arguments.quick else 5)
        self.scale = 0.4 if arguments.quick else 1
        self.results = {}  # (what, side): [Result], one for each round
        self.stored = {}   # size as sent: size as we store it
        self.rows = []     # (what, target, measured, met)
        self.stack = contextlib.ExitStack()
        self.log = os.path.join(folder, "clients.log")

    # One measurement

    @contextlib.contextmanager
    def measured(self, what, label, server=None, postfix=None):
        """Takes the counters around its block, which sets deliveries, seconds and client."""
        def now():
            return (server() if server else 0, postfix() if postfix else 0,
                    self.counters.flushes(), *who.busy_ticks())
        result, before = Result(), now()
        yield result
        after = now()
        spent = [b - a for a, b in zip(before, after)]
        result.server, result.postfix, result.flushes = spent[:3]
        result.busy = spent[3] / max(1, spent[4])
        self.results.setdefault((what, label), []).append(result)

    def expect(self, what, label, domain, names, count):
        """Every mailbox must hold COUNT messages."""
        for local in names:
            found = self.mailboxes.delivered(domain, local)
            if found != count:
                raise AssertionError(f"{what}, {label}: {count} messages for {local}@{domain}, "
                                     f"{found} delivered")
        who.settle(os.path.join(self.mailboxes.maildir(domain, local), "new") for local in names)

    def lmtp(self, what, side, sessions, messages, size=SMALL, one=False, recipients=1, keep=True,
             label=None, domain=None):
        """MESSAGES in each session, after one more that makes the Maildirs and wakes everybody."""
        label, domain = label or side.label, domain or side.domain
        messages = max(1, int(messages * self.scale))
        kind = who.LIST if recipients > 1 else who.SINGLE
        names = self.mailboxes.take(kind, 1 if one else sessions)
        addresses = [f"{local}@{domain}" for local in names] * (sessions if one else 1)
        target = f"unix:{side.socket}"

        def send(count):
            return who.smtp_sources(target, addresses, count, size, self.log, recipients, keep)
        send(1)
        with self.measured(what, label, side.processor) as result:
            result.seconds, result.client = send(messages)
            result.deliveries = messages * sessions * recipients
        if side is self.ours:
            self.stored[size] = self.mailboxes.message_size(domain, names[0])
        if domain not in who.NOT_KEPT:
            self.expect(what, label, domain,
                        [one_ for local in names for one_ in who.expanded(local, recipients)],
                        (messages + 1) * (sessions if one else 1))

    def limit(self, what, threads, messages, size=SMALL, folders=None):
        """Files as large as those of the messages; with FOLDERS the threads share so many."""
        folders = folders or threads
        messages = max(threads, int(messages * self.scale) * threads)
        folder = tempfile.mkdtemp(prefix="limit-", dir=self.disk)
        who.spread(folder)
        with self.measured(what, FILES) as result:
            result.seconds, result.client = who.timed(
                [os.path.join(self.build, "bench", "fs_limit"), folder, str(threads),
                 str(messages), str(self.stored[size]), str(folders)], self.folder)
            result.deliveries = messages
        made = [f"{folder}/{i}/new" for i in range(folders)]
        found = sum(len(os.listdir(one)) for one in made)
        if found != messages:
            raise AssertionError(f"{what}: fs_limit made {found} files of {messages}")
        who.settle(made)

    def through_postfix(self, what, label, domain, server=None):
        sessions, messages = 8, max(1, int(180 * self.scale))
        names = self.mailboxes.take(who.POST, sessions)
        addresses = [f"{local}@{domain}" for local in names]
        target = f"inet:127.0.0.1:{self.postfix.port}"

        def send(count):
            cost = who.smtp_sources(target, addresses, count, SMALL, self.log, lmtp=False)
            self.postfix.wait_empty(120)
            return cost[1]
        self.postfix.move_queue()
        send(1)
        with self.measured(what, label, server, self.postfix.processor) as result:
            start = who.time.monotonic()
            result.client = send(messages)
            result.seconds = who.time.monotonic() - start
            result.deliveries = messages * sessions
        if domain not in who.NOT_KEPT:
            self.expect(what, label, domain, names, messages + 1)
        elif self.postfix.sent(addresses) != (messages + 1) * sessions:
            raise AssertionError(f"{what}, {label}: the log tells of other deliveries")

    def agent(self, what, label, parallel, make, domain=None, server=None):
        """MAKE(local) is the command; DOMAIN says where the mail must be afterwards."""
        messages = max(1, int(200 * self.scale))
        local, = self.mailboxes.take(who.SINGLE, 1)
        argv = make(local)

        def run(count):
            return who.timed([os.path.join(self.build, "bench", "spawn"), str(count),
                              str(parallel), self.message, *argv], self.folder, who.OWNER)
        run(1)
        with self.measured(what, label, server) as result:
            result.seconds, result.client = run(messages)
            result.deliveries = messages
        if domain:
            self.expect(what, label, domain, [local], messages + 1)

    # Verdicts

    def rate(self, what, label):
        return statistics.median(result.rate for result in self.results[what, label])

    def compare(self, what, left, right, target):
        ours, theirs = self.rate(what, left), self.rate(what, right)
        self.rows.append((f"{what}: {left}", f">= {target:g} x {right}",
                          f"{ours / theirs:.2f} x  ({ours:,.0f} / {theirs:,.0f} per s)",
                          ours / theirs >= target))

    def judge(self):
        ours, dovecot = self.ours.label, self.dovecot.label
        for sessions, target in zip(SESSIONS, (2, 3, 3)):
            self.compare(own(sessions), ours, dovecot, target)
        for sessions in SESSIONS:
            self.compare(shared(sessions), ours, dovecot, 4)
        for sessions in SESSIONS:
            self.compare(own(sessions), ours, FILES, 0.6)
        self.compare("50 recipients, 8 sessions", ours, dovecot, 4)
        self.compare("through Postfix", ours, "discard", 0.95)
        for label in (AGENT_SQLITE, AGENT_MARIADB):
            self.compare("agent", label, "maildrop", 1.3)
            self.compare("agent", label, "dovecot-lda", 4)
        self.compare("1 MiB, 8 sessions", ours, dovecot, 2)
        self.compare("1 MiB, 8 sessions", ours, FILES, 0.6)

    def to_be_had(self):
        """What the null server and the file system leave to any server, and what ours has of it."""
        ours, null = self.ours.label, self.null.label
        for what, like in (*((own(sessions), own(sessions)) for sessions in SESSIONS),
                           *((shared(sessions), own(sessions)) for sessions in SESSIONS),
                           ("1 MiB, 8 sessions", "1 MiB, 8 sessions")):
            server, files = self.rate(like, null), self.rate(what, FILES)
            yield (what, 1 / (1 / server + 1 / files),
                   f"{null} {server:,.0f}, then {FILES} {files:,.0f}", ours, self.rate(what, ours))
        what = "through Postfix"
        for whole, part in (("discard", null), (null, ours)):
            yield what, self.rate(what, whole), whole, part, self.rate(what, part)

    # Parts

    def prepare(self):
        say("databases, servers")
        self.counters = who.Disk(self.disk)
        who.spread(self.disk)
        self.mailboxes = who.Mailboxes(self.disk, self.rounds)
        enter = self.stack.enter_context
        self.database = enter(sides.Database(self.folder, 256))
        self.ours = enter(who.Ours(self.folder, self.build, self.mailboxes, "ours",
                                   who.sqlite_database(self.folder, self.build, self.mailboxes)))
        self.mariadb = enter(who.Ours(self.folder, self.build, self.mailboxes, "ours, MariaDB",
                                      who.mariadb_database(self.database, self.mailboxes)))
        self.dovecot = enter(who.DovecotServer(self.folder, self.mailboxes))
        self.maildrop = who.Maildrop(self.folder, self.mailboxes)
        self.null = enter(who.NullServer(self.folder, self.build))
        self.postfix = enter(who.PrivatePostfix(self.disk, self.mailboxes, self.ours, self.dovecot,
                                                self.null))
        self.message = os.path.join(self.folder, "message")
        with open(self.message, "w", encoding="ascii") as out:
            out.write("From: <sender@elsewhere.test>\nTo: <you@ours.test>\nSubject: a test\n"
                      "Date: Sat, 21 Nov 2026 12:00:00 +0000\n\n")
            out.write(f"{'x' * 78}\n" * (SMALL // 79))

    def runs(self):
        """What one round measures, neighbours being compared with each other: functions."""
        both = self.ours, self.dovecot
        three = *both, self.null
        for sessions, messages in zip(SESSIONS, (900, 360, 150)):
            for side in three:
                yield self.lmtp, (own(sessions), side, sessions, messages), {}
            yield self.limit, (own(sessions), sessions, messages), {}
        for sessions, messages in zip(SESSIONS, (600, 220, 90)):
            for side in both:
                yield self.lmtp, (shared(sessions), side, sessions, messages), {"one": True}
            yield self.limit, (shared(sessions), sessions, messages), {"folders": 1}
        for side in both:
            yield (self.lmtp, ("50 recipients, 8 sessions", side, 8, 12),
                   {"recipients": who.LISTED})
        for side in three:
            yield self.lmtp, ("1 MiB, 8 sessions", side, 8, 50, LARGE), {}
        yield self.limit, ("1 MiB, 8 sessions", 8, 50, LARGE), {}
        yield self.lmtp, (own(8), self.mariadb, 8, 360), {}
        yield self.lmtp, (own(8), self.ours, 8, 360), {"label": "ours, quota", "domain": who.QUOTA}
        for side in both:
            yield self.lmtp, ("a connection each, 8", side, 8, 300), {"keep": False}
        for label, domain, server in (("discard", who.DISCARD, None),
                                      (self.null.label, who.NULL, self.null.processor),
                                      (self.ours.label, who.OURS, self.ours.processor),
                                      ("virtual(8)", who.VIRTUAL, None),
                                      (self.dovecot.label, who.DOVECOT, self.dovecot.processor)):
            yield self.through_postfix, ("through Postfix", label, domain, server), {}
        yield from self.agents("agent", 1)
        yield from self.agents("agent, 8 at a time", 8)

    def agents(self, what, parallel):
        def at(side, domain):
            return lambda local: side.agent(f"{local}@{domain}")
        for label, make, domain, server in (
                ("/bin/true", lambda local: ["/bin/true"], None, None),
                ("maildrop", self.maildrop.agent, who.MAILDROP, None),
                (AGENT_SQLITE, at(self.ours, who.OURS), who.OURS, None),
                (AGENT_MARIADB, at(self.mariadb, who.OURS), who.OURS, self.database_seconds),
                ("dovecot-lda", at(self.dovecot, who.DOVECOT), who.DOVECOT, self.dovecot.processor)):
            yield self.agent, (what, label, parallel, make, domain, server), {}

    def database_seconds(self):
        return sides.processor_seconds([self.database.server.pid])

    # The report

    def report(self):
        print()
        report.machine(self.load)
        print(f"Mail folders: {self.counters.described}")
        print(f"Versions: Postfix {report.postfix_version()}, Dovecot {self.dovecot.version()}, "
              f"maildrop {self.maildrop.version()}, MariaDB {self.database.version()}")
        print(f"Medians of {self.rounds} rounds; clients: smtp-source -L -d, a process for each "
              "session; messages of 4 KiB where nothing else is said;\nours: SQLite where nothing "
              "else is said, no quota; all with fsync; deliveries counted in new/\n")
        report.verdicts(self.rows)
        print()
        report.to_be_had(self.to_be_had())
        print()
        table([("deliveries per second", "", "median", "least", "most")]
              + [(what, label, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}",
                  f"{max(rates):,.0f}")
                 for (what, label), rates in
                 ((key, [one.rate for one in found]) for key, found in self.results.items())])
        print()
        table([("processor microseconds a delivery", "", "client", "server", "Postfix",
                "processors busy", "disk flushes")]
              + [(what, label, *self.costs(found)) for (what, label), found in self.results.items()])
        sys.stdout.flush()

    @staticmethod
    def costs(found):
        def median(name):
            return statistics.median(getattr(one, name) / one.deliveries for one in found)
        times = [f"{median(name) * 1e6:,.0f}" if median(name) else "-"
                 for name in ("client", "server", "postfix")]
        busy = statistics.median(one.busy for one in found)
        return (*times, f"{busy * 100:.0f} %",
                f"{median('flushes'):.2f}" if median("flushes") else "-")

    def run(self):
        self.load = os.getloadavg()
        with self.stack:
            self.prepare()
            runs = list(self.runs())
            for number in range(self.rounds):
                say(f"round {number + 1} of {self.rounds}")
                # Every other round backwards, so that nobody always follows the same neighbour.
                for function, positional, named in runs if number % 2 == 0 else reversed(runs):
                    function(*positional, **named)
            self.judge()
            self.report()
        return int(not all(row[3] for row in self.rows))


def own(sessions):
    return f"own mailboxes, {sessions} {plural(sessions)}"


def shared(sessions):
    return f"one mailbox, {sessions} {plural(sessions)}"


def plural(sessions):
    return "session" if sessions == 1 else "sessions"


def main():
    parser = report.parser("Measures lmtp-deliver beside its peers.", "fewer messages and rounds")
    parser.add_argument("--disk", help="a folder on the disk to measure (the build folder)")
    arguments = report.arguments_of(parser)

    def with_disk(folder):
        # Mail lies on the disk; sockets need short names.
        return Bench(folder, disk, arguments)
    with tempfile.TemporaryDirectory(prefix="mail-", dir=arguments.disk or arguments.build,
                                     ignore_cleanup_errors=True) as disk:
        os.chmod(disk, 0o755)
        return report.run(with_disk)


if __name__ == "__main__":
    sys.exit(main())
