"""What scripts/bench compares: a filled MariaDB, a private Postfix, our daemon, the null servers.

Everything lives in one folder and ends with its `with`; nothing outside is touched.
"""

import configparser
import contextlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TOP, "tests", "fixtures"), os.path.join(TOP, "tests", "e2e")]
import mariadb  # noqa: E402
import postfixadmin  # noqa: E402
from rig.postfix import Postfix  # noqa: E402
from rig.process import Daemon, wait_for  # noqa: E402

PRESET = os.path.join(TOP, "schemas", "postfixadmin.ini")
# In the preset's queries, as null_relay calls them.
PARAMETER = re.compile(r":(address|domain)\b")
PER_DOMAIN = 100
# As PostfixAdmin's documentation has it.
MYSQL_CF = """\
hosts = unix:{socket}
user = {user}
password = {password}
dbname = {name}
query = SELECT maildir FROM mailbox WHERE username = '%s' AND active = 1
"""
USER, PASSWORD = "bench", "bench"
# One row: a password of the usual form and length, and the rest as PostfixAdmin fills it.
HASH = "{SHA512-CRYPT}$6$rounds=5000$abcdefghijklmnop$" + "x" * 86

LOAD = """\
INSERT INTO domain (domain, description, transport, active)
    SELECT CONCAT('d', LPAD(seq, 6, '0'), '.test'), '', 'virtual', 1 FROM seq_0_to_{last_domain};
INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain)
    SELECT CONCAT(@l := CONCAT('user', LPAD(seq, 8, '0')), '@',
                  @d := CONCAT('d', LPAD(seq DIV {per_domain}, 6, '0'), '.test')),
           '{hash}', @l, CONCAT(@d, '/', @l, '/'), 1073741824, @l, @d FROM seq_0_to_{last};
"""
LOAD_ALIASES = """\
INSERT INTO alias (address, goto, domain) SELECT username, username, domain FROM mailbox;
"""


def address(number):
    return f"user{number:08d}@d{number // PER_DOMAIN:06d}.test"


def path(number):
    return f"d{number // PER_DOMAIN:06d}.test/user{number:08d}/"


class Database(contextlib.AbstractContextManager):
    """MariaDB with one database for each size that was asked for."""

    def __init__(self, folder, buffer_pool_mib):
        self.server = mariadb.MariaDB(os.path.join(folder, "db"), [
            f"innodb-buffer-pool-size={buffer_pool_mib}M", "innodb-log-file-size=512M",
            "innodb-flush-log-at-trx-commit=0", "innodb-doublewrite=OFF", "query-cache-type=0",
            "max-connections=500"])
        os.mkdir(self.server.folder)

    def __enter__(self):
        self.server.start()
        self.server.run(f"CREATE USER '{USER}'@'localhost' IDENTIFIED BY '{PASSWORD}';"
                        f"GRANT ALL ON *.* TO '{USER}'@'localhost';")
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.server.stop()
        else:
            self.server.kill()
        return False

    def load(self, name, mailboxes, aliases):
        """PostfixAdmin's 4.x tables with MAILBOXES rows; an alias of itself for each, if ALIASES."""
        ddl = io.StringIO()
        with contextlib.redirect_stdout(ddl):
            postfixadmin.Database("mysql", "4.x").tables()
        self.server.run(f"CREATE DATABASE {name};")
        self.server.run(
            "SET SESSION sql_mode = ''; SET SESSION unique_checks = 0;"
            + ddl.getvalue()
            + "ALTER TABLE mailbox ADD KEY (domain); ALTER TABLE alias ADD KEY (domain);"
            + LOAD.format(last=mailboxes - 1, last_domain=(mailboxes - 1) // PER_DOMAIN,
                          per_domain=PER_DOMAIN, hash=HASH)
            + (LOAD_ALIASES if aliases else ""), database=name)
        self.server.run("ANALYZE TABLE domain, mailbox, alias;", database=name)

    def queries(self):
        """How many statements clients have run so far."""
        rows = self.server.run("SHOW GLOBAL STATUS WHERE Variable_name IN "
                               "('Com_select', 'Com_stmt_execute');")
        counts = dict(row.split("\t") for row in rows.splitlines())
        # An executed prepared SELECT counts in both.
        return max(int(count) for count in counts.values())

    def version(self):
        return self.server.run("SELECT VERSION();").strip()


class PrivatePostfix(contextlib.AbstractContextManager):
    """An instance of its own, for the sake of proxymap(8), and as postmap's configuration."""

    def __init__(self, folder, database):
        self.map_path = os.path.join(folder, "mailbox.cf")
        with open(self.map_path, "w", encoding="ascii") as out:
            out.write(MYSQL_CF.format(socket=database.server.socket, user=USER, password=PASSWORD,
                                      name="small"))
        self.postfix = Postfix(folder, main=f"proxy_read_maps = proxy:mysql:{self.map_path}\n")
        self.config = self.postfix.folder

    def __enter__(self):
        self.postfix.start()
        return self

    def __exit__(self, kind, value, traceback):
        self.postfix.stop()
        return False


def lookup_daemon(folder, build, database, name, **lookup):
    """Our daemon on the database NAME, with these keys of [lookup]; not started yet."""
    home = os.path.join(folder, f"lookup-{len(os.listdir(folder))}")
    os.mkdir(home)
    keys = {"listen": os.path.join(home, "s"), "socket_mode": "0666", "socket_group": "",
            "user": "", "stale_ttl": "0", **lookup}
    sections = {
        "database": {"driver": "mysql", "hosts": database.server.socket, "name": name,
                     "user": USER, "password": PASSWORD},
        "schema": {"preset": PRESET},
        "mail": {"base": home, "owner": "nobody:nogroup"},
        "lookup": keys,
        "log": {"level": "warning"},
        "metrics": {"listen": ""},
    }
    config = write_config(home, sections)
    return Server(Daemon("postfix-lookup", [os.path.join(build, "postfix-lookup", "postfix-lookup"),
                                            "-c", config], home), keys["listen"])


def write_config(folder, sections):
    """{section: {key: value}} as FOLDER/postern.ini, whose name it returns."""
    name = os.path.join(folder, "postern.ini")
    with open(name, "w", encoding="ascii", opener=private) as out:
        for section, values in sections.items():
            out.write(f"[{section}]\n")
            out.writelines(f"{key} = {value}\n" for key, value in values.items())
    return name


def private(name, flags):
    return os.open(name, flags, 0o600)


class Server(contextlib.AbstractContextManager):
    def __init__(self, daemon, socket):
        self.daemon, self.socket = daemon, socket

    def table(self, map_name):
        return f"socketmap:unix:{self.socket}:{map_name}"

    @property
    def pid(self):
        return self.daemon.process.pid

    def __enter__(self):
        self.daemon.start(60)
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.daemon.stop()
        else:
            self.daemon.kill()
        return False


class NullServer(contextlib.AbstractContextManager):
    """One of the servers that do the least: bench/PROGRAM SOCKET ARGUMENTS."""

    def __init__(self, folder, build, program, *arguments):
        self.program, self.socket = program, os.path.join(folder, program)
        self.argv = [os.path.join(build, "bench", program), self.socket, *arguments]
        self.process = None

    def table(self, map_name):
        return f"socketmap:unix:{self.socket}:{map_name}"

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL)
        try:
            wait_for(self.program, self._listens)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.program} left with {self.process.returncode}")
        return os.path.exists(self.socket)

    def __exit__(self, kind, value, traceback):
        self.process.kill()
        self.process.wait()
        return False


def null_relay(folder, build, database, name):
    """It puts the question that our daemon puts to the database NAME."""
    sql = resident_query(database, name)
    return NullServer(folder, build, "null_relay", database.server.socket, USER, PASSWORD, name,
                      PARAMETER.sub("?", sql), *PARAMETER.findall(sql))


def resident_query(database, name):
    """The first alternative of [query resident] whose tables and columns NAME has, as our daemon."""
    preset = configparser.ConfigParser(interpolation=None)
    with open(PRESET, encoding="utf-8") as text:
        preset.read_file(text)
    for quoted in preset["query resident"].values():
        sql = quoted.strip('"')
        with contextlib.suppress(mariadb.MariaDBError):
            database.server.run(f"EXPLAIN {PARAMETER.sub('NULL', sql)};", database=name)
            return sql
    raise AssertionError(f"no alternative of [query resident] suits the database {name}")


def wait_all(clients, seconds):
    """
    Their exit codes; who has not ended in time is killed. Popen.wait() with a time-out looks only
    every 50 ms, which is much of a short run.
    """
    watchdog = threading.Timer(seconds, lambda: [client.kill() for client in clients])
    watchdog.start()
    try:
        return [client.wait() for client in clients]
    finally:
        watchdog.cancel()


def ask(config, table, key_files, folder):
    """
    One `postmap -q -` for each key file, all at once. Returns (seconds, processor seconds of the
    clients, names of the files with their answers).
    """
    outputs = [os.path.join(folder, f"answers-{i}") for i in range(len(key_files))]
    clients = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with open(os.path.join(folder, "clients.log"), "w+b") as log:
            start = time.monotonic()
            for keys, output in zip(key_files, outputs):
                with open(keys, "rb") as source, open(output, "wb") as sink:
                    clients.append(subprocess.Popen(
                        ["postmap", "-c", config, "-q", "-", table], stdin=source, stdout=sink,
                        stderr=log))
            codes = wait_all(clients, 600)
            seconds = time.monotonic() - start
            log.seek(0)
            complaint = log.read(2000).decode(errors="replace")
            # 1: no key was found, which some maps answer.
            if complaint or max(codes) > 1:
                raise AssertionError(f"postmap -q - {table}: {codes} {complaint}")
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, outputs)


def processor_seconds(pids):
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as status:
                fields = status.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def family_seconds(master):
    """Processor seconds of a process and its children, also of those for which it has waited."""
    with open(f"/proc/{master}/stat", encoding="ascii", errors="replace") as status:
        fields = status.read().rpartition(")")[2].split()
    waited = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return waited + processor_seconds([master, *children(master)])


def children(parent, name=None):
    """Ids of PARENT's children, or only of those that run NAME."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as status:
                head, _, rest = status.read().rpartition(")")
            if name is not None and not head.endswith(f"({name}"):
                continue
            if int(rest.split()[1]) == parent:
                yield int(entry)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError(f"process {pid} tells no VmRSS")


def end_on_signals():
    """Makes the usual ends of a command an exception, so that every `with` is left in order."""
    def leave(number, _frame):
        for other in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(other, signal.SIG_IGN)  # the clean-up is not disturbed again
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)
