"""Courier's imapd on one Maildir, as it runs after the login: it talks on its standard input."""

import glob
import imaplib
import subprocess

# Debian lets Dovecot's and Courier's IMAP servers not be installed at once; scripts/install-packages
# unpacks Courier's here.
ROOT = "/usr/local/lib/postern-tests/courier"


class Courier(imaplib.IMAP4):
    """FOLDER is what Courier takes for the home directory: it holds the Maildir named NAME."""

    def __init__(self, folder, name, user):
        libraries = [f"{ROOT}/usr/lib", *glob.glob(f"{ROOT}/usr/lib/*-linux-gnu*")]
        self.child = subprocess.Popen(
            [f"{ROOT}/usr/bin/imapd", name], cwd=folder, user=user, group="nogroup",
            extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"AUTHENTICATED": "someone", "IMAP_CAPABILITY": "IMAP4rev1 QUOTA NAMESPACE",
                 "IMAP_USELOCKS": "0", "MAILDIRWATCH": "0", "PATH": "/usr/bin:/bin", "LANG": "C",
                 "LD_LIBRARY_PATH": ":".join(libraries)})
        super().__init__()

    def open(self, host="", port=0, timeout=None):
        self.host, self.port, self.sock = None, None, None
        self.readfile, self.writefile = self.child.stdout, self.child.stdin
        self.file = self.readfile

    def read(self, size):
        return self.readfile.read(size)

    def readline(self):
        while True:
            line = self.readfile.readline()
            # Without a file alteration monitor it says so first; that is no greeting.
            if not line.startswith(b"* OK [ALERT] Filesystem notification"):
                return line

    def send(self, data):
        self.writefile.write(data)
        self.writefile.flush()

    def shutdown(self):
        for stream in (self.child.stdin, self.child.stdout):
            stream.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
