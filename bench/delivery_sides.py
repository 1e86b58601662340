"""Who delivers in scripts/bench delivery: ours, Dovecot, maildrop, virtual(8), the null server."""

import contextlib
import grp
import os
import pwd
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import time

import sides
from rig.postfix import Postfix
from rig.process import Daemon, check, run, wait_for

OWNER, GROUP = "nobody", "nogroup"  # of all mail, on every side
SENDER = "sender@elsewhere.test"
OURS, QUOTA, DOVECOT, NULL, VIRTUAL, DISCARD, MAILDROP = (
    f"{name}.test"
    for name in ("ours", "quota", "dovecot", "null", "virtual", "discard", "maildrop"))
NOT_KEPT = NULL, DISCARD  # nothing is stored there
LISTED = 50  # recipients of one message
# The mailboxes: smtp-source puts 2 to 50 before an address to make more of one.
SINGLE, LIST, POST = "u", "list", "p"
ROOM = {SINGLE: 250, LIST: 24, POST: 48}  # names that one round may use

DOVECOT_CONF = """\
base_dir = {run}/run
state_dir = {run}/state
log_path = {log}
instance_name = postern-bench
protocols = lmtp
ssl = no
postmaster_address = postmaster@{domain}
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:~/
first_valid_uid = 1
first_valid_gid = 1
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={mail}/%d/%n allow_all_users=yes
}}
service lmtp {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""

MAIN = """\
virtual_mailbox_domains = {domains}
virtual_mailbox_maps = texthash:{map}
virtual_mailbox_base = {mail}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
transport_maps = inline:{{ {transports} }}
in_flow_delay = 0
"""


class Mailboxes:
    """Names that were never used before, so that every measurement starts with new Maildirs."""

    def __init__(self, folder, rounds):
        self.folder = os.path.join(folder, "mail")
        self.room = {kind: room * rounds for kind, room in ROOM.items()}
        self.used = dict.fromkeys(self.room, 0)
        for name in (".", OURS, QUOTA, DOVECOT, VIRTUAL, MAILDROP):
            path = os.path.join(self.folder, name)
            os.makedirs(path, exist_ok=True)
            shutil.chown(path, OWNER, GROUP)
            spread(path)
        reach = run(["test", "-w", self.folder], user=OWNER, group=GROUP, extra_groups=[])
        if reach.returncode != 0:
            raise AssertionError(f"{OWNER} cannot reach {self.folder}: with --disk, name a folder "
                                 "which everybody may enter")

    def take(self, kind, count):
        start = self.used[kind]
        self.used[kind] += count
        if self.used[kind] > self.room[kind]:
            raise AssertionError(f"no more mailboxes of the kind {kind}")
        return [name(kind, number) for number in range(start, start + count)]

    def all(self, kind):
        return [name(kind, number) for number in range(self.room[kind])]

    def maildir(self, domain, local):
        return os.path.join(self.folder, domain, local)

    def delivered(self, domain, local):
        """How many messages are in new/; whatever else lies about is a failure."""
        maildir = self.maildir(domain, local)
        for sub in ("cur", "tmp"):
            if os.listdir(os.path.join(maildir, sub)):
                raise AssertionError(f"{maildir}/{sub} is not empty")
        return len(os.listdir(os.path.join(maildir, "new")))

    def message_size(self, domain, local):
        """The bytes of a delivered message, as it is stored."""
        with os.scandir(os.path.join(self.maildir(domain, local), "new")) as messages:
            return next(messages).stat().st_size


def spread(folder):
    """
    Has ext4 put each new folder below FOLDER somewhere else on the disk. Without a journal, ext4
    leaves the inodes of removed files alone for some minutes, and to step over thousands of them
    takes longer than the rest of a delivery; so nobody must work where another has just removed
    files. Other file systems know nothing of this.
    """
    run(["chattr", "+T", folder])


def settle(folders):
    """
    Gives back the space of what was delivered, but no inodes (see spread), and waits until the disk
    has come to rest, so that the next one pays for itself only.
    """
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.stat().st_size > 1 << 16:
                os.truncate(entry.path, 0)
    os.sync()


def name(kind, number):
    return f"{kind}{number:05d}"


def expanded(local, recipients):
    """The recipients that `smtp-source -r RECIPIENTS` makes of one."""
    return [local] + [f"{number}{local}" for number in range(2, recipients + 1)]


# Our databases

def statements(mailboxes):
    """SQL that fills PostfixAdmin's tables."""
    singles = mailboxes.all(SINGLE)
    listed = [one for local in mailboxes.all(LIST) for one in expanded(local, LISTED)]
    for domain, quota, names in ((OURS, 0, singles + listed + mailboxes.all(POST)),
                                 (QUOTA, 1 << 30, singles)):
        yield (f"INSERT INTO domain (domain, description, transport, active) "
               f"VALUES ('{domain}', '', 'virtual', 1);")
        for i in range(0, len(names), 1000):
            values = ", ".join(
                f"('{n}@{domain}', '{sides.HASH}', '{n}', '{domain}/{n}/', {quota}, '{n}', '{domain}')"
                for n in names[i:i + 1000])
            yield ("INSERT INTO mailbox (username, password, name, maildir, quota, local_part, "
                   f"domain) VALUES {values};")


class Ours(contextlib.AbstractContextManager):
    """lmtp-deliver with a configuration of its own, as server, and as agent of pipe(8)."""

    def __init__(self, folder, build, mailboxes, label, database, **lmtp):
        self.label, self.domain = label, OURS
        self.folder = os.path.join(folder, f"ours-{database['driver']}")
        os.mkdir(self.folder)
        shutil.chown(self.folder, OWNER, GROUP)
        self.program = os.path.join(build, "lmtp-deliver", "lmtp-deliver")
        self.socket = os.path.join(self.folder, "lmtp")
        self.config = sides.write_config(self.folder, {
            "database": database,
            "schema": {"preset": sides.PRESET},
            "mail": {"base": mailboxes.folder, "owner": f"{OWNER}:{GROUP}"},
            "lmtp": {"listen": self.socket, "socket_mode": "0666", "socket_group": "", **lmtp},
            "metrics": {"listen": ""},
        })
        shutil.chown(self.config, OWNER, GROUP)
        self.daemon = Daemon("lmtp-deliver", [self.program, "-c", self.config], self.folder)

    def __enter__(self):
        self.daemon.start(60)
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.daemon.stop()
        else:
            self.daemon.kill()
        return False

    def processor(self):
        return sides.family_seconds(self.daemon.process.pid)

    def agent(self, recipient):
        return [self.program, "-c", self.config, "-f", SENDER, "-d", recipient]


def sqlite_database(folder, build, mailboxes):
    """Our own default database, as `postern db init` makes it."""
    path = os.path.join(folder, "database")
    os.mkdir(path)
    keys = {"driver": "sqlite", "path": os.path.join(path, "mail.sqlite")}
    config = sides.write_config(path, {
        "database": keys, "mail": {"base": mailboxes.folder, "owner": f"{OWNER}:{GROUP}"},
        "schema": {"preset": sides.PRESET}})
    check([os.path.join(build, "postern", "postern"), "-c", config, "db", "init"])
    with contextlib.closing(sqlite3.connect(keys["path"])) as database:
        database.executescript(f"BEGIN; {' '.join(statements(mailboxes))} COMMIT;")
    for name_ in (path, keys["path"]):
        shutil.chown(name_, OWNER, GROUP)
    return keys


def mariadb_database(server, mailboxes):
    server.load("delivery", 10_000, aliases=False)
    server.server.run("SET SESSION sql_mode = '';" + "".join(statements(mailboxes)),
                      database="delivery")
    return {"driver": "mysql", "hosts": server.server.socket, "name": "delivery",
            "user": sides.USER, "password": sides.PASSWORD}


class DovecotServer(contextlib.AbstractContextManager):
    """Dovecot with LMTP and what its delivery agent asks."""

    label, domain = "Dovecot LMTP", DOVECOT

    def __init__(self, folder, mailboxes):
        self.folder = os.path.join(folder, "dovecot")
        for path in (self.folder, f"{self.folder}/run", f"{self.folder}/state"):
            os.mkdir(path)
            os.chmod(path, 0o755)
        self.socket = os.path.join(self.folder, "lmtp")
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "wb"):
            os.chmod(self.log, 0o666)  # dovecot-lda, too
        self.config = os.path.join(self.folder, "dovecot.conf")
        with open(self.config, "w", encoding="ascii") as out:
            out.write(DOVECOT_CONF.format(run=self.folder, log=self.log, socket=self.socket,
                                          domain=DOVECOT, mail=mailboxes.folder, owner=OWNER,
                                          group=GROUP))
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.config],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        try:
            wait_for("Dovecot to listen", self._listens)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _listens(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"Dovecot left: {log.read()[-2000:]}")
        return os.path.exists(self.socket)

    def __exit__(self, kind, value, traceback):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return False

    def processor(self):
        return sides.family_seconds(self.process.pid)

    def agent(self, recipient):
        return ["/usr/lib/dovecot/dovecot-lda", "-c", self.config, "-f", SENDER, "-d", recipient]

    @staticmethod
    def version():
        return check(["dovecot", "--version"]).split()[0]


class NullServer(sides.NullServer):
    """It takes everything and stores nothing."""

    label, domain = "null server", NULL

    def __init__(self, folder, build):
        super().__init__(folder, build, "null_lmtp")

    def processor(self):
        return sides.family_seconds(self.pid)


class Maildrop:
    """It asks no database, so a filter file names the Maildir, which somebody else must make."""

    def __init__(self, folder, mailboxes):
        self.folder, self.mailboxes = folder, mailboxes

    def agent(self, local):
        maildir = self.mailboxes.maildir(MAILDROP, local)
        for path in (maildir, *(os.path.join(maildir, sub) for sub in ("cur", "new", "tmp"))):
            os.mkdir(path, 0o700)
            shutil.chown(path, OWNER, GROUP)
        filter_file = os.path.join(self.folder, f"filter-{local}")
        with open(filter_file, "w", encoding="ascii") as out:
            out.write(f'DEFAULT="{maildir}/"\n')
        os.chmod(filter_file, 0o600)
        shutil.chown(filter_file, OWNER, GROUP)
        return ["/usr/bin/maildrop", "-f", SENDER, filter_file]

    @staticmethod
    def version():
        return check(["maildrop", "-v"]).split()[1]


class PrivatePostfix(contextlib.AbstractContextManager):
    """One instance; the recipient's domain decides who delivers."""

    def __init__(self, folder, mailboxes, *servers):
        table = os.path.join(folder, "mailboxes")
        transports = {VIRTUAL: "virtual:", DISCARD: "discard:",
                      **{server.domain: f"lmtp:unix:{server.socket}" for server in servers}}
        with open(table, "w", encoding="ascii") as out:
            out.writelines(f"{local}@{domain} {domain}/{local}/\n"
                           for domain in transports for local in mailboxes.all(POST))
        self.postfix = Postfix(folder, main=MAIN.format(
            domains=" ".join(transports), map=table, mail=mailboxes.folder,
            uid=pwd.getpwnam(OWNER).pw_uid, gid=grp.getgrnam(GROUP).gr_gid,
            transports=" ".join(f"{{ {key} = {value} }}" for key, value in transports.items())))
        self.port = self.postfix.smtp_port

    def __enter__(self):
        self.postfix.start()
        with open(os.path.join(self.postfix.queue, "pid", "master.pid"), encoding="ascii") as pid:
            self.pid = int(pid.read())
        return self

    def __exit__(self, kind, value, traceback):
        self.postfix.stop()
        return False

    def processor(self):
        return sides.family_seconds(self.pid)

    def move_queue(self):
        """New mail comes in at a fresh place of the disk (see spread): Postfix removes what it sent."""
        incoming = os.path.join(self.postfix.queue, "incoming")
        status = os.stat(incoming)
        spread(self.postfix.queue)
        os.rename(incoming, f"{incoming}-{time.monotonic_ns()}")
        os.mkdir(incoming)
        os.chown(incoming, status.st_uid, status.st_gid)
        os.chmod(incoming, stat.S_IMODE(status.st_mode))

    def queued(self):
        return sum(len(files) for queue in ("maildrop", "incoming", "active", "deferred")
                   for _, _, files in os.walk(os.path.join(self.postfix.queue, queue)))

    def wait_empty(self, seconds):
        """Without asking showq, which would cost what is measured."""
        end = time.monotonic() + seconds
        while self.queued() > 0:
            if time.monotonic() > end:
                tail = "\n".join(self.postfix.log().splitlines()[-10:])
                raise AssertionError(f"mail is left in the queue: {tail}")
            time.sleep(0.01)

    def sent(self, addresses):
        """How many deliveries to them the log tells of."""
        found = re.findall(r" to=<([^>]+)>.* status=sent", self.postfix.log())
        return sum(address in addresses for address in found)


# Clients

def smtp_sources(target, addresses, messages, size, log, recipients=1, keep=True, lmtp=True):
    """
    One smtp-source with one session for each of ADDRESSES, all at once. Returns (seconds,
    processor seconds of the clients).
    """
    clients = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with open(log, "w+b") as complaints:
            start = time.monotonic()
            for address in addresses:
                clients.append(subprocess.Popen(
                    ["smtp-source", *(["-L"] if lmtp else []), *(["-d"] if keep else []),
                     "-s", "1", "-m", str(messages), "-l", str(size), "-r", str(recipients),
                     "-M", "client.elsewhere.test", "-f", SENDER, "-t", address, target],
                    stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints))
            codes = sides.wait_all(clients, 300)
            seconds = time.monotonic() - start
            complaints.seek(0)
            said = complaints.read(2000).decode(errors="replace")
            if said or any(codes):
                raise AssertionError(f"smtp-source {target}: {codes} {said}")
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(argv, folder, owner=None):
    """Runs a program that prints its seconds; returns them, and processor seconds with children."""
    identity = {"user": owner, "group": GROUP, "extra_groups": []} if owner else {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = check(argv, cwd=folder, env={**os.environ, "HOME": folder}, timeout=300, **identity)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (float(said.split()[-1]),
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


# What the machine says

def busy_ticks():
    """(ticks that processors worked, all ticks) since the machine started."""
    with open("/proc/stat", encoding="ascii") as status:
        ticks = [int(word) for word in status.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Disk:
    """Counters of the disk that a folder is on; without a disk of its own (btrfs, tmpfs) zeros."""

    def __init__(self, folder):
        device = os.stat(folder).st_dev
        path = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        self.described = check(["findmnt", "-no", "FSTYPE,SOURCE,OPTIONS", "-T", folder]).strip()
        with contextlib.suppress(OSError):
            with open(f"/sys/fs/ext4/{os.path.basename(path)}/journal_task", encoding="ascii") as task:
                if task.read().strip() == "<none>":
                    self.described += " (without a journal)"
        if os.path.exists(os.path.join(path, "partition")):
            path = os.path.dirname(path)
        self.path = os.path.join(path, "stat")

    def flushes(self):
        try:
            with open(self.path, encoding="ascii") as status:
                fields = status.read().split()
        except OSError:
            return 0
        return int(fields[15]) if len(fields) > 15 else 0
