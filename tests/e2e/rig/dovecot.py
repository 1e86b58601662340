"""A private Dovecot IMAP server that reads the Maildirs which lmtp-deliver wrote."""

import imaplib
import os
import signal
import subprocess

from .process import check, free_port, wait_for

CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
info_log_path = {folder}/dovecot.log
instance_name = postern-test
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:~/
mail_plugins = quota
first_valid_uid = 1
first_valid_gid = 1
auth_mechanisms = plain login
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = scheme=CRYPT {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_plugins = quota
}}
"""


class Dovecot:
    """USERS: {login: (clear password, Maildir)}; all run as UID:GID."""

    def __init__(self, folder, users, uid, gid):
        self.folder = os.path.join(folder, "dovecot")
        self.port = free_port()
        os.makedirs(f"{self.folder}/run", mode=0o755)
        os.makedirs(f"{self.folder}/state", mode=0o755)
        with open(f"{self.folder}/users", "w", encoding="utf-8") as out:
            for login, (password, maildir) in users.items():
                out.write(f"{login}:{{PLAIN}}{password}:{uid}:{gid}::{maildir}::\n")
        os.chmod(f"{self.folder}/users", 0o644)
        self.config = f"{self.folder}/dovecot.conf"
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(folder=self.folder, port=self.port))
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.config],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for("Dovecot to listen", self._listens)
        return self

    def _listens(self):
        if self.process.poll() is not None:
            with open(f"{self.folder}/dovecot.log", encoding="utf-8") as log:
                raise AssertionError(f"Dovecot left: {log.read()[-2000:]}")
        try:
            imaplib.IMAP4("127.0.0.1", self.port).logout()
            return True
        except OSError:
            return False

    def imap(self, login, password):
        client = imaplib.IMAP4("127.0.0.1", self.port)
        client.login(login, password)
        return client

    def doveadm(self, *arguments):
        return check(["doveadm", "-c", self.config, *arguments])

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
