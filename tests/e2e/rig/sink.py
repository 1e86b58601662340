"""A remote mail host: a small SMTP server on a free port of 127.0.0.1 that notes what arrives."""

import base64
import collections
import os
import socketserver
import ssl
import threading

from .process import check

# LOGIN is (user, password) or None; ENCRYPTED whether the message came through STARTTLS.
Message = collections.namedtuple("Message", "sender recipients data login encrypted")


class Sink:
    """LOGINS {user: password}: AUTH is offered, and wanted. CERTIFICATE (see below): STARTTLS is."""

    def __init__(self, logins=None, certificate=None):
        self.logins = logins
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.messages = []
        self.refused = 0  # logins
        self.server = Server(("127.0.0.1", 0), Session)
        self.server.sink = self
        self.port = self.server.server_address[1]
        self.nexthop = f"[127.0.0.1]:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def recipients(self):
        """Of all messages, in alphabetical order."""
        return sorted(name for message in self.messages for name in message.recipients)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.login, self.encrypted = None, False
        self.forget()
        try:
            self.say("220 sink.remote.test ESMTP")
            while line := self.rfile.readline(4096):
                verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
                if verb.upper() == "QUIT":
                    self.say("221 bye")
                    return
                getattr(self, f"smtp_{verb.lower()}", self.unknown)(rest)
        except (ConnectionError, ssl.SSLError):
            pass  # the client's business

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def forget(self, *unused):
        self.sender, self.recipients = None, []

    def unknown(self, *unused):
        self.say("502 not here")

    def smtp_ehlo(self, *unused):
        self.forget()
        lines = ["sink.remote.test", "8BITMIME", "SMTPUTF8"]
        if self.server.sink.logins is not None:
            lines.append("AUTH PLAIN")
        if self.server.sink.context is not None and not self.encrypted:
            lines.append("STARTTLS")
        for line in lines[:-1]:
            self.say(f"250-{line}")
        self.say(f"250 {lines[-1]}")

    def smtp_rset(self, *unused):
        self.forget()
        self.say("250 ok")

    def smtp_starttls(self, *unused):
        self.say("220 go ahead")
        self.request = self.server.sink.context.wrap_socket(self.request, server_side=True)
        self.connection = self.request
        self.setup()
        self.encrypted = True

    def smtp_auth(self, rest):
        method, _, initial = rest.partition(" ")
        if method.upper() != "PLAIN" or not initial:
            self.say("504 PLAIN with an initial response")
            return
        _, user, password = base64.b64decode(initial).decode().split("\0")
        if self.server.sink.logins.get(user) != password:
            self.server.sink.refused += 1
            self.say("535 5.7.8 no")
            return
        self.login = user, password
        self.say("235 welcome")

    def smtp_mail(self, rest):
        if self.server.sink.logins is not None and self.login is None:
            self.say("450 4.7.0 log in first")
            return
        self.sender = path(rest)
        self.say("250 ok")

    def smtp_rcpt(self, rest):
        self.recipients.append(path(rest))
        self.say("250 ok")

    def smtp_data(self, *unused):
        if self.sender is None or not self.recipients:
            self.say("503 no")
            return
        self.say("354 go on")
        data = b""
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            data += line
        self.server.sink.messages.append(
            Message(self.sender, self.recipients, data, self.login, self.encrypted))
        self.forget()
        self.say("250 noted")


def path(text):
    """The address in FROM:<...> or TO:<...>."""
    return text.partition("<")[2].rpartition(">")[0]


def make_certificate(folder):
    """Self-signed, with its key in the same file. Returns the file's name."""
    name = os.path.join(folder, "sink.pem")
    check(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "2", "-subj", "/CN=sink.remote.test", "-keyout", name, "-out", name + ".crt"])
    with open(name + ".crt", encoding="ascii") as certificate, \
         open(name, "a", encoding="ascii") as out:
        out.write(certificate.read())
    return name
