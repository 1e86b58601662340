"""Several mail hosts: each user's mail goes to its own lmtp-deliver, by LMTP over TLS with AUTH.

Two lmtp-deliver of their own configuration on 127.0.0.2 and 127.0.0.3, one database, one Postfix
that asks postfix-lookup for the transport of each address.
"""

import contextlib
import os
import shutil
import socket
import ssl

from rig.dialogue import plain, send
from rig.host import OWNER, Host, program, sanitizer_environment
from rig.process import Daemon, check, wait_for

SANITIZED = ("address", "thread")

LOGIN, PASSWORD = "alice@example.com", "alice-password"
ERIN, HEIDI = "erin@example.org", "heidi@example.com"

CLIENT = """\
lmtp_sasl_auth_enable = yes
lmtp_sasl_password_maps = texthash:$config_directory/lmtp_passwords
lmtp_sasl_security_options = noanonymous
lmtp_sasl_mechanism_filter = {mechanism}
lmtp_tls_security_level = encrypt
lmtp_tls_loglevel = 1
lmtp_send_xforward_command = yes
"""


def free_port(address):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class MailHost:
    """One lmtp-deliver with an address, a certificate and a Maildir base of its own."""

    def __init__(self, host, address, settings=None):
        self.address, self.port = address, free_port(address)
        self.folder = os.path.join(host.folder, address)
        self.mail = os.path.join(self.folder, "mail")
        os.makedirs(self.mail, 0o755)
        for folder in (self.folder, self.mail):
            os.chmod(folder, 0o755)
            shutil.chown(folder, OWNER, "nogroup")
        self.certificate = os.path.join(self.folder, "certificate.pem")
        self.key = os.path.join(self.folder, "key.pem")
        check(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={address}",
               "-addext", f"subjectAltName=IP:{address}", "-keyout", self.key,
               "-out", self.certificate])
        shutil.chown(self.key, OWNER, "nogroup")
        self._configure(host, settings or {})
        self.daemon = Daemon(f"lmtp-{address}", [program("lmtp-deliver"), "-c", self.config],
                             self.folder, env={**sanitizer_environment(host.folder),
                                               "SASL_PATH": host.postfix.env["SASL_PATH"],
                                               "SASL_CONF_PATH": self.folder})

    def _configure(self, host, settings):
        self.config = os.path.join(self.folder, "postern.ini")
        sections = {name: dict(host.sections[name]) for name in ("database", "schema", "address",
                                                                 "log")}
        sections["mail"] = {"base": self.mail, "owner": f"{OWNER}:nogroup"}
        sections["lmtp"] = {"listen": f"{self.address}:{self.port}", "hostname": self.address,
                            "tls_certificate": self.certificate, "tls_key": self.key,
                            "tls": "require", "auth_users": LOGIN, "received": "yes", **settings}
        with open(self.config, "w", encoding="utf-8") as out:
            for section, values in sections.items():
                out.write(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))
        with open(os.path.join(self.folder, "lmtp.conf"), "w", encoding="utf-8") as out:
            out.write(f"postern_config: {self.config}\nauxprop_plugin: postern\n")

    def messages(self, address):
        local, domain = address.split("@")
        folder = os.path.join(self.mail, domain, local, "new")
        return [os.path.join(folder, name) for name in os.listdir(folder)] \
            if os.path.isdir(folder) else []

    @property
    def transport(self):
        return f"lmtp:inet:[{self.address}]:{self.port}"


@contextlib.contextmanager
def two_hosts(mechanism="plain", password=PASSWORD, settings=None):
    with Host("sqlite", "default", daemons=("lookup", "policy"),
              main=CLIENT.format(mechanism=mechanism)) as host:
        hosts = [MailHost(host, address, settings) for address in ("127.0.0.2", "127.0.0.3")]
        write_passwords(host, hosts, password)
        host.sql(f"UPDATE mailbox SET x_host = '{hosts[0].transport}' WHERE username = '{HEIDI}';"
                 f"UPDATE mailbox SET x_host = '{hosts[1].transport}' WHERE username = '{ERIN}';")
        for each in hosts:
            host.daemons[each.daemon.name] = each.daemon
            each.daemon.start()
        yield host, hosts


def write_passwords(host, hosts, password):
    host.postfix.write("lmtp_passwords", "".join(
        f"[{each.address}]:{each.port} {LOGIN}:{password}\n" for each in hosts))


def read(path):
    with open(path, "rb") as message:
        return message.read().decode()


def delivered(hosts):
    return [len(each.messages(address)) for each, address in zip(hosts, (HEIDI, ERIN))]


def through_postfix(mechanism, settings=None):
    with two_hosts(mechanism, settings=settings) as (host, hosts):
        answers = send(host.postfix.smtp_port, "someone@remote.test", [HEIDI, ERIN],
                       b"Subject: two hosts\r\n\r\nhello\r\n")
        assert all(answer.startswith("250") for answer in answers.values()), answers
        wait_for("both deliveries", lambda: delivered(hosts) == [1, 1], 60)
        host.postfix.wait_empty()
        log = host.postfix.log()
        assert "status=bounced" not in log
        queue_id = answers[HEIDI].split()[-1]
        for each, address, other in zip(hosts, (HEIDI, ERIN), (ERIN, HEIDI)):
            text = read(each.messages(address)[0])
            assert not each.messages(other)
            assert f"\n\tby {each.address} with UTF8LMTPSA id {queue_id}\n\tfor <{address}>; " in text, text
            assert "logged in" in each.daemon.log() and f"user=<{LOGIN}>" in each.daemon.log()
            assert f"queue-id={queue_id}" in each.daemon.log(), each.daemon.log_tail()


def test_plain_over_tls():
    through_postfix("plain")


def test_login_over_tls():
    through_postfix("login")


def test_wrong_password_defers():
    """Nothing bounces while the password is wrong, and all goes out when it is right again."""
    with two_hosts(password="wrong") as (host, hosts):
        send(host.postfix.smtp_port, "someone@remote.test", [HEIDI, ERIN],
             b"Subject: later\r\n\r\nhello\r\n")
        wait_for("two deferrals", lambda: host.postfix.log().count("status=deferred") >= 2, 60)
        log = host.postfix.log()
        assert "status=bounced" not in log and "535 5.7.8" in log, log
        assert "login refused" in hosts[0].daemon.log()
        assert delivered(hosts) == [0, 0]
        write_passwords(host, hosts, PASSWORD)
        host.postfix.reload()
        host.postfix.wait_empty()
        assert delivered(hosts) == [1, 1]
        assert "status=bounced" not in host.postfix.log()


def test_database_away_defers_logins():
    """The host cannot check logins: 454, and nothing bounces."""
    with two_hosts() as (host, hosts):
        send(host.postfix.smtp_port, "someone@remote.test", [HEIDI],
             b"Subject: before\r\n\r\nhello\r\n")
        wait_for("a delivery", lambda: delivered(hosts) == [1, 0], 60)
        host.postfix.wait_empty()
        host.stop_database()
        with tls_session(hosts[0]) as session:
            session.send(f"AUTH PLAIN {plain(LOGIN, PASSWORD)}")
            assert session.reply().startswith("454 4.7.0")
        host.start_database()

        def logged_in():
            with tls_session(hosts[0]) as session:
                session.send(f"AUTH PLAIN {plain(LOGIN, PASSWORD)}")
                return session.reply().startswith("235")
        wait_for("logins to work again", logged_in)


class Lines:
    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def send(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def reply(self):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.rstrip()


@contextlib.contextmanager
def tls_session(mail_host):
    """A client that has done STARTTLS and LHLO, and checked the certificate."""
    context = ssl.create_default_context(cafile=mail_host.certificate)
    with socket.create_connection((mail_host.address, mail_host.port), 30) as raw:
        lines = Lines(raw)
        assert lines.reply().startswith("220")
        lines.send("LHLO client.test")
        assert lines.reply().startswith("250")
        lines.send("MAIL FROM:<a@b>")
        assert lines.reply().startswith("454 4.7.0")
        lines.send("STARTTLS")
        assert lines.reply().startswith("220")
        with context.wrap_socket(raw, server_hostname=mail_host.address) as secure:
            lines = Lines(secure)
            lines.send("LHLO client.test")
            assert lines.reply().startswith("250")
            yield lines


def test_many_logins_at_once():
    """Sixteen clients log in and deliver over TLS at the same moment."""
    with two_hosts() as (host, hosts):
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(tls_session(hosts[0])) for _ in range(16)]
            for session in sessions:
                session.send(f"AUTH PLAIN {plain(LOGIN, PASSWORD)}")
            for session in sessions:
                assert session.reply().startswith("235")
            body = "x" * 70 + "\r\n"
            for number, session in enumerate(sessions):
                text = f"Subject: {number}\r\nMessage-ID: <{number}@x>\r\n\r\n" + body * 3000
                session.send(f"MAIL FROM:<a@b>\r\nRCPT TO:<{HEIDI}>\r\nBDAT {len(text)} LAST\r\n"
                             + text[:-2])
            for session in sessions:
                assert session.reply().startswith("250 2.1.0")
                assert session.reply().startswith("250 2.1.5")
                assert session.reply().startswith("250 2.0.0")
        assert len(hosts[0].messages(HEIDI)) == 16


def test_new_certificate_by_reload():
    """SIGHUP takes a new certificate; a bad one leaves the old in place."""
    with two_hosts() as (host, hosts):
        first = hosts[0]
        with tls_session(first):
            pass
        with open(first.certificate, encoding="ascii") as certificate:
            old = certificate.read()
        with open(first.certificate, "w", encoding="ascii") as certificate:
            certificate.write("nothing\n")
        first.daemon.signal(1)
        wait_for("the complaint", lambda: "no usable certificate" in first.daemon.log())
        with open(first.certificate, "w", encoding="ascii") as certificate:
            certificate.write(old)
        with tls_session(first):
            pass
        check(["openssl", "req", "-x509", "-key", first.key, "-days", "3", "-subj", "/CN=new",
               "-addext", f"subjectAltName=IP:{first.address}", "-out", first.certificate])
        first.daemon.signal(1)

        def renewed():
            try:
                with tls_session(first):
                    return True
            except ssl.SSLCertVerificationError:
                return False
        wait_for("the new certificate", renewed)
