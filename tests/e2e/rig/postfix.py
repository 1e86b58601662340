"""A private Postfix instance: own configuration, queue and data folders; the system's is untouched."""

import os
import re
import select
import shutil
import signal
import time

from .process import check, free_port, run, wait_for

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
syslog_name = postfix
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mx.example.test
mydestination = localhost.example.test
myorigin = example.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
biff = no
default_transport = error:no outside world in this test
relay_transport = error:no outside world in this test
smtp_dns_support_level = disabled
disable_dns_lookups = yes
smtputf8_enable = yes
strict_smtputf8 = no
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
message_size_limit = 60000000
virtual_mailbox_limit = 0
mailbox_size_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 4s
queue_run_delay = 1s
queue_minfree = 0
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C SASL_PATH
"""

MASTER = """\
127.0.0.1:{smtp} inet n - {chroot} - 100 smtpd
127.0.0.1:{submission} inet n - {chroot} - 100 smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_security_options=noanonymous
  -o broken_sasl_auth_clients=yes
  -o mynetworks=192.0.2.255
  -o smtpd_sender_restrictions=reject_sender_login_mismatch
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - {chroot} - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - {chroot} - - trivial-rewrite
bounce unix - - {chroot} - 0 bounce
defer unix - - {chroot} - 0 bounce
trace unix - - {chroot} - 0 bounce
verify unix - - {chroot} - 1 verify
flush unix n - {chroot} 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - {chroot} - - smtp
relay unix - - {chroot} - - smtp
showq unix n - {chroot} - - showq
error unix - - {chroot} - - error
retry unix - - {chroot} - - error
discard unix - - {chroot} - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - {chroot} - 50 lmtp
anvil unix - - {chroot} - 1 anvil
scache unix - - {chroot} - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, folder, main="", master="", chroot=False, env=None):
        self.folder = os.path.join(folder, "postfix")
        self.chroot = chroot
        self.env = dict(os.environ, **(env or {}))
        self.smtp_port = free_port()
        self.submission_port = free_port()
        os.mkdir(self.folder, 0o755)
        os.mkdir(f"{self.folder}/queue", 0o755)
        os.mkdir(f"{self.folder}/data", 0o700)
        shutil.chown(f"{self.folder}/data", "postfix", "postfix")
        os.mkdir(f"{self.folder}/sasl", 0o755)
        os.mkdir(f"{self.folder}/queue/postern", 0o755)
        self.queue = f"{self.folder}/queue"
        self.log_path = f"{self.folder}/mail.log"
        self.write("main.cf", without_overridden(MAIN.format(folder=self.folder) + main))
        self.write("master.cf", MASTER.format(smtp=self.smtp_port, submission=self.submission_port,
                                              chroot="y" if chroot else "n") + master)
        self.write("dynamicmaps.cf", open("/etc/postfix/dynamicmaps.cf", encoding="utf-8").read()
                   if os.path.exists("/etc/postfix/dynamicmaps.cf") else "")
        if os.path.isdir("/etc/postfix/dynamicmaps.cf.d"):
            shutil.copytree("/etc/postfix/dynamicmaps.cf.d", f"{self.folder}/dynamicmaps.cf.d")
        self.running = False

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def start(self):
        check(["postfix", "-c", self.folder, "start"], env=self.env)
        self.running = True
        wait_for("Postfix to start", lambda: "daemon started" in self.log())
        return self

    def reload(self):
        check(["postfix", "-c", self.folder, "reload"], env=self.env)

    def stop(self):
        """Ends the instance; returns only when its master process is gone."""
        if not self.running:
            return
        self.running = False
        with open(f"{self.folder}/queue/pid/master.pid", encoding="ascii") as pid_file:
            pid = int(pid_file.read())
        master = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGTERM)  # what `postfix stop` does, without its pauses
            if not select.select([master], [], [], 20)[0]:
                os.killpg(pid, signal.SIGKILL)
        finally:
            os.close(master)

    def flush(self):
        check(["postqueue", "-c", self.folder, "-f"], env=self.env)

    def queue_size(self):
        listing = check(["postqueue", "-c", self.folder, "-p"], env=self.env)
        if "Mail queue is empty" in listing:
            return 0
        found = re.search(r"in (\d+) Request", listing)
        return int(found.group(1)) if found else 1

    def wait_flushing(self, what, condition, seconds=60.0):
        """Waits, and has the queue tried again meanwhile: Postfix alone may take its time."""
        last_flush = [0.0]

        def met():
            if condition():
                return True
            if time.monotonic() - last_flush[0] > 1.0:
                last_flush[0] = time.monotonic()
                self.flush()
            return False
        wait_for(what, met, seconds)

    def wait_empty(self, seconds=60.0):
        self.wait_flushing("an empty queue", lambda: self.queue_size() == 0, seconds)

    def map_query(self, table, key):
        """('ok', value), ('notfound', '') or ('error', stderr), as `postmap -q` sees it."""
        done = run(["postmap", "-c", self.folder, "-q", key, table], env=self.env)
        if done.returncode == 0:
            return "ok", done.stdout[:-1] if done.stdout.endswith("\n") else done.stdout
        if "fatal" in done.stderr or "error" in done.stderr or "warning" in done.stderr:
            return "error", done.stderr
        return "notfound", ""

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")


def without_overridden(text):
    """main.cf with the last of several settings of one parameter only."""
    settings = {}
    for setting in re.findall(r"^\w[^\n]*\n(?:[ \t][^\n]*\n)*", text, re.MULTILINE):
        name = setting.split("=", 1)[0].strip()
        settings.pop(name, None)
        settings[name] = setting
    return "".join(settings.values())
