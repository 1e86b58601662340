"""A whole mail host from one postern.ini: database, our daemons, Postfix with the SASL plugin."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

from . import TOP, BUILD, PLUGIN_BUILD
from .postfix import Postfix
from .process import Daemon, check, free_port, run

sys.path.insert(0, os.path.join(TOP, "tests", "fixtures"))
import mariadb  # noqa: E402  (beside the fixtures, because the unit tests use it too)

OWNER = "nobody"  # pipe(8) wants a name, and Debian has no better account for everybody

SECTIONS = {
    "schema": {"preset": os.path.join(TOP, "schemas", "postfixadmin.ini")},
    "address": {"recipient_delimiter": "+"},
    "log": {"level": "debug"},
    "lookup": {"workers": "16", "user": OWNER, "positive_ttl": "0", "negative_ttl": "0",
               "stale_ttl": "0"},
    "lmtp": {"workers": "24", "hostname": "mx.example.test"},
    "policy": {"user": OWNER},
    "auth": {"user": OWNER},
}

MAIN = """\
recipient_delimiter = +
virtual_alias_domains =
virtual_mailbox_domains = {lookup}:virtual_mailbox_domains
virtual_mailbox_maps = {lookup}:virtual_mailbox_maps
virtual_alias_maps = {lookup}:virtual_alias_maps
transport_maps = {lookup}:transport_maps
relay_domains = {lookup}:relay_domains
smtpd_sender_login_maps = {lookup}:smtpd_sender_login_maps
virtual_transport = lmtp:unix:postern/lmtp
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient,
  check_policy_service {{ unix:postern/policy, default_action=DUNNO }}
smtpd_data_restrictions = check_policy_service {{ unix:postern/policy, default_action=DUNNO }}
"""

PIPE = """\
deliver unix - n n - - pipe
  flags= user={owner} null_sender= argv={program} -c {config} -f ${{sender}} -d ${{recipient}}
"""


class Host(contextlib.AbstractContextManager):
    """
    DRIVER "sqlite" or "mysql"; LAYOUT of the PostfixAdmin fixtures, or None for the empty default
    database; SETTINGS {section: {key: value}} over SECTIONS; MAIN more main.cf lines.
    AUTH "plugin" (the plugin opens the database in smtpd) or "saslauthd" (stock PLAIN and LOGIN ask
    sasl-authd over a socket inside the queue directory).
    """

    def __init__(self, driver="sqlite", layout="4.x", settings=None, main="", master="",
                 chroot=False, auth="plugin", daemons=("lookup", "lmtp", "policy"), postfix=True):
        self.stack = contextlib.ExitStack()
        self.driver, self.layout = driver, layout
        self.folder = tempfile.mkdtemp(prefix="postern-e2e-")
        os.chmod(self.folder, 0o755)
        self.database = None
        self.postfix = None
        try:
            self._build(settings or {}, main, master, chroot, auth, daemons, postfix)
        except BaseException:
            self.close()
            raise

    def _build(self, settings, main, master, chroot, auth, daemons, postfix):
        self.mail = os.path.join(self.folder, "mail")
        os.mkdir(self.mail, 0o755)
        shutil.chown(self.mail, OWNER, "nogroup")
        self.sections = {name: dict(values) for name, values in SECTIONS.items()}
        self.sections["mail"] = {"base": self.mail, "owner": f"{OWNER}:nogroup"}
        self._start_database()
        socket_folder = os.path.join(self.folder, "postern")
        if postfix:
            self.postfix = Postfix(
                self.folder, chroot=chroot, env=self._sasl_environment(),
                main=MAIN.format(lookup="socketmap:unix:postern/lookup") + main,
                master=PIPE.format(owner=OWNER, program=program("lmtp-deliver"),
                                   config=self.config_path) + master)
            socket_folder = os.path.join(self.postfix.queue, "postern")
        else:
            os.mkdir(socket_folder, 0o755)
        self.sockets = socket_folder
        for section, key, name in (("lookup", "listen", "lookup"), ("lmtp", "listen", "lmtp"),
                                   ("policy", "listen", "policy"), ("auth", "saslauthd", "authd")):
            self.sections[section][key] = os.path.join(socket_folder, name)
            self.sections[section]["socket_mode"] = "0666"
            self.sections[section]["socket_group"] = ""
        for section, values in settings.items():
            self.sections.setdefault(section, {}).update(values)
        self.write_config()
        if postfix:
            self._write_sasl(auth)
        names = {"lookup": ("postfix-lookup", "postfix-lookup"),
                 "lmtp": ("lmtp-deliver", "lmtp-deliver"), "policy": ("policyd", "policyd"),
                 "authd": ("sasl-authd", "sasl-authd")}
        if auth == "saslauthd" and "authd" not in daemons:
            daemons = (*daemons, "authd")
        self.daemons = {}
        for name in daemons:
            daemon = Daemon(names[name][0], [program(names[name][1]), "-c", self.config_path],
                            self.folder, env=sanitizer_environment(self.folder))
            self.daemons[name] = daemon
            daemon.start()
        if postfix:
            self.postfix.start()

    # The database

    def _start_database(self):
        if self.driver == "sqlite":
            self.sqlite_path = os.path.join(self.folder, "mail.sqlite")
            self.sections["database"] = {"driver": "sqlite", "path": self.sqlite_path}
            if self.layout is not None:
                check(["sqlite3", self.sqlite_path], input=fixtures("sqlite", self.layout))
                self.own_sqlite()
        else:
            self.database = mariadb.MariaDB(os.path.join(self.folder, "mariadb"))
            self.database.start()
            self.database.run(fixtures("mysql", self.layout), database="mail")
            self.sections["database"] = {
                "driver": "mysql", "hosts": f"127.0.0.1:{self.database.port}", "name": "mail",
                "user": self.database.user, "password": self.database.password,
                "query_timeout": "2s", "connect_timeout": "2s", "retry_interval": "200ms"}

    def load(self, schema, layout):
        """The fixtures of another schema take the database's place; lookup begins anew with it."""
        daemon = self.daemons["lookup"]
        if daemon.stop() != 0:
            raise AssertionError(daemon.log_tail())
        self.layout = layout
        self.sections["schema"]["preset"] = os.path.join(TOP, "schemas", f"{schema}.ini")
        self.write_config()
        text = fixtures(self.driver, layout, schema)
        if self.driver == "sqlite":
            os.unlink(self.sqlite_path)
            check(["sqlite3", self.sqlite_path], input=text)
            self.own_sqlite()
        else:
            self.database.run(text)
        daemon.start()

    def dump(self):
        """Everything in the database, as SQL."""
        if self.driver == "sqlite":
            return check(["sqlite3", "-cmd", ".timeout 10000", self.sqlite_path, ".dump"])
        return check([mariadb.program("mariadb-dump", "mysqldump"), "--no-defaults", "--user=root",
                      f"--socket={self.database.socket}", "--skip-comments", "mail"])

    def own_sqlite(self):
        shutil.chown(self.sqlite_path, OWNER, "nogroup")
        os.chmod(self.sqlite_path, 0o644)

    def stop_database(self):
        if self.driver == "sqlite":
            os.rename(self.sqlite_path, self.sqlite_path + ".away")
        else:
            self.database.stop()

    def start_database(self):
        if self.driver == "sqlite":
            os.rename(self.sqlite_path + ".away", self.sqlite_path)
        else:
            self.database.start()

    def sql(self, text):
        """Runs statements as the site's administrator would, outside our programs."""
        if self.driver == "sqlite":
            return check(["sqlite3", "-cmd", ".timeout 10000", self.sqlite_path], input=text)
        return self.database.run(text, database="mail")

    # Files

    @property
    def config_path(self):
        return os.path.join(self.folder, "postern.ini")

    def write_config(self):
        self._write_config(self.config_path, self.sections)

    def config_without_server(self):
        """The path of the same configuration, but for an LMTP server that is not there."""
        path = os.path.join(self.folder, "without-server.ini")
        if not os.path.exists(path):
            lmtp = dict(self.sections["lmtp"], listen=os.path.join(self.sockets, "nobody"))
            self._write_config(path, dict(self.sections, lmtp=lmtp))
        return path

    @staticmethod
    def _write_config(path, sections):
        with open(path, "w", encoding="utf-8") as out:
            for section, values in sections.items():
                out.write(f"[{section}]\n")
                for key, value in values.items():
                    quoted = f'"{value}"' if any(c in value for c in ";#") else value
                    out.write(f"{key} = {quoted}\n")
        os.chmod(path, 0o600)
        shutil.chown(path, OWNER, "nogroup")

    def _sasl_environment(self):
        """A folder with the stock plugins and ours, because smtpd loads all it finds in one."""
        plugins = os.path.join(self.folder, "sasl2")
        os.mkdir(plugins, 0o755)
        stock = check(["sh", "-c", "dirname $(ls -d /usr/lib/*/sasl2/libplain.so | head -n 1)"]).strip()
        for name in os.listdir(stock):
            os.symlink(os.path.join(stock, name), os.path.join(plugins, name))
        shutil.copy(os.path.join(PLUGIN_BUILD, "sasl-auxprop-sql", ".libs", "postern.so"), plugins)
        return {"SASL_PATH": plugins}

    def _write_sasl(self, auth):
        if auth == "plugin":
            text = ("pwcheck_method: auxprop\nauxprop_plugin: postern\n"
                    f"mech_list: PLAIN LOGIN\npostern_config: {self.config_path}\n")
        else:
            path = os.path.join("/", "postern", "authd") if self.postfix.chroot else \
                os.path.join(self.sockets, "authd")
            text = f"pwcheck_method: saslauthd\nsaslauthd_path: {path}\nmech_list: PLAIN LOGIN\n"
        self.postfix.write("sasl/smtpd.conf", text)

    # What tests look at

    def postern(self, *arguments, **options):
        return run([program("postern"), "-c", self.config_path, *arguments],
                   env=sanitizer_environment(self.folder), **options)

    def map(self, name, key):
        return self.postfix.map_query(f"socketmap:unix:{self.sockets}/lookup:{name}", key)

    def maildir(self, address):
        """The folder of a mailbox in the fixtures' and the default database's form."""
        local, domain = address.lower().split("@")
        return os.path.join(self.mail, domain, local)

    def messages(self, address, folder=""):
        """Paths of all messages of a mailbox, in no order."""
        found = []
        for sub in ("new", "cur"):
            path = os.path.join(self.maildir(address), folder, sub)
            if os.path.isdir(path):
                found += [os.path.join(path, name) for name in os.listdir(path)]
        return found

    def complaints(self):
        """Sanitizer reports of any daemon: empty when all is well."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            if name.startswith("sanitizer."):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as log:
                    found.append(log.read()[:6000])
        return "\n".join(found)

    def logs(self):
        text = []
        for daemon in getattr(self, "daemons", {}).values():
            text.append(f"--- {daemon.name}\n{daemon.log_tail()}")
        if self.postfix is not None:
            text.append("--- postfix\n" + "\n".join(self.postfix.log().splitlines()[-40:]))
        return "\n".join(text)

    def __exit__(self, kind, value, traceback):
        logs = self.logs() if kind is not None else ""
        codes, complaints = self.close()
        if kind is not None:
            sys.stdout.write(logs + "\n" + complaints)
            return False
        if complaints:
            raise AssertionError(complaints)
        bad = {name: code for name, code in codes.items() if code != 0}
        if bad:
            raise AssertionError(f"daemons left with {bad}")
        return False

    def close(self):
        codes = {}
        if self.postfix is not None:
            self.postfix.stop()
        try:
            for name, daemon in getattr(self, "daemons", {}).items():
                codes[name] = daemon.stop()
        finally:
            for daemon in getattr(self, "daemons", {}).values():
                daemon.kill()
            if self.database is not None:
                self.database.stop()
            self.stack.close()
            complaints = self.complaints()
            shutil.rmtree(self.folder, ignore_errors=True)
        return codes, complaints


def program(name):
    folder = {"sasl-authd": "sasl-auxprop-sql"}.get(name, name)
    return os.path.join(BUILD, folder, name)


def sanitizer_environment(folder):
    log = os.path.join(folder, "sanitizer")
    return {**os.environ,
            "ASAN_OPTIONS": f"log_path={log}.asan:detect_leaks=1:exitcode=99",
            "UBSAN_OPTIONS": f"log_path={log}.ubsan:print_stacktrace=1",
            "TSAN_OPTIONS": f"log_path={log}.tsan:exitcode=99"}


def fixtures(driver, layout, schema="postfixadmin"):
    return subprocess.run([sys.executable, os.path.join(TOP, "tests", "fixtures", f"{schema}.py"),
                           "--driver", driver, "--layout", layout], stdout=subprocess.PIPE,
                          encoding="utf-8", check=True).stdout


def free_endpoint():
    return f"127.0.0.1:{free_port()}"
