"""
The pipe(8) agent behind a real Postfix, called with the command lines of other agents; alone, and
with a server that it hands the messages over to.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess

from rig.dialogue import send
from rig.host import OWNER, Host, program, sanitizer_environment
from rig.process import wait_for

SANITIZED = ("address",)

# Only the word behind argv= differs from what the how-tos and Postfix's own master.cf have.
MASTER = """\
bare unix - n n - - pipe
  flags=R user={owner} argv={agent} -e -r ${{sender}} -m ${{extension}} ${{user}}
cyrus unix - n n - - pipe
  flags=R user={owner} argv={agent} -e -r ${{sender}} -m ${{extension}} ${{user}}@${{nexthop}}
old-cyrus unix - n n - - pipe
  flags=R user={owner} argv={agent} -e -m ${{extension}} ${{user}}@${{nexthop}}
maildrop unix - n n - - pipe
  flags=DRhu user={owner} argv={agent} -w 90 -d ${{user}}@${{nexthop}} ${{recipient}} ${{user}} ${{extension}} {{nexthop}}
dovecot unix - n n - - pipe
  flags=DRhu user={owner}:nogroup argv={agent} -d ${{recipient}}
dovecot-command unix - n n - - pipe
  flags=DRhu user={owner}:nogroup argv={agent} deliver -d ${{recipient}}
lda unix - n n - - pipe
  flags=DRhuO user={owner} argv={agent} -f ${{sender}} -d ${{user}}@${{nexthop}} -a ${{original_recipient}} -m Junk -e -k
"""

MAIN = """\
virtual_mailbox_domains = example.com example.org example.net
virtual_mailbox_maps =
virtual_alias_maps =
relay_domains =
smtpd_sender_login_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_data_restrictions =
virtual_transport = dovecot
transport_retry_time = 2s
service_throttle_time = 2s
bare_destination_recipient_limit = 1
cyrus_destination_recipient_limit = 1
old-cyrus_destination_recipient_limit = 1
maildrop_destination_recipient_limit = 1
dovecot_destination_recipient_limit = 1
dovecot-command_destination_recipient_limit = 1
lda_destination_recipient_limit = 1
transport_maps = inline:{
  { alice@example.com = bare: },
  { heidi@example.com = cyrus: },
  { o'brien@example.com = old-cyrus: },
  { erin@example.org = maildrop: },
  { frank+box@example.org = dovecot: },
  { frank@example.org = dovecot-command: },
  { heidi@example.net = lda: } }
"""

SENDER = "someone@remote.test"
LINE = b"x" * 78 + b"\r\n"
BIG = b"Subject: big\r\n\r\n" + LINE * (20 * 1024 * 1024 // len(LINE))


DOTS = b"X: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\nQUIT\r\nBDAT 5 LAST\r\n"


def wrapper(folder, host_config):
    """The agent as the site has it, with its configuration where it looks by itself."""
    path = os.path.join(folder, "agent")
    with open(path, "w", encoding="utf-8") as script:
        script.write(f"#!/bin/sh\necho $$ >{folder}/agent.pid.new\n"
                     f"mv {folder}/agent.pid.new {folder}/agent.pid\n"
                     f"test ! -e {folder}/halt || kill -STOP $$\n")
        for name, value in sanitizer_environment(folder).items():
            if name.endswith("SAN_OPTIONS"):
                script.write(f"export {name}='{value}'\n")
        script.write(f"exec {program('lmtp-deliver')} -c {host_config} \"$@\"\n")
    os.chmod(path, 0o755)
    return path


class AgentHost(Host):
    """No daemon of ours but, if SERVED, the LMTP server: Postfix, the agent, the database."""

    def __init__(self, driver="sqlite", settings=None, served=False):
        super().__init__(driver, "4.x", main=MAIN, daemons=("lmtp",) if served else (), settings={
            "address": {"default_domain": "example.com"},
            "lmtp": {"folders": "create"}, **(settings or {})},
            master=MASTER.format(owner=OWNER, agent="{agent}"))

    def write_config(self):
        super().write_config()
        os.chmod(self.folder, 0o777)  # the agent's script leaves its process id here
        wrapper(self.folder, self.config_path)
        if self.postfix is not None:
            path = os.path.join(self.postfix.folder, "master.cf")
            with open(path, encoding="utf-8") as text:
                lines = text.read().replace("{agent}", os.path.join(self.folder, "agent"))
            self.postfix.write("master.cf", lines)

    def send(self, recipient, body=b"Subject: x\r\n\r\nbody\r\n", sender=SENDER):
        send(self.postfix.smtp_port, sender, [recipient], body)

    def handed_over(self):
        """How many messages the server has stored."""
        return self.daemons["lmtp"].log().count(" delivered queue-id=")

    def one(self, address, folder=""):
        """The one message there."""
        wait_for(f"mail for {address} {folder}", lambda: self.messages(address, folder))
        paths = self.messages(address, folder)
        assert len(paths) == 1, paths
        with open(paths[0], "rb") as message:
            return message.read()


def head(recipient, sender=SENDER):
    return f"Return-Path: <{sender}>\nDelivered-To: {recipient}\nReceived: from ".encode()


def check_forms(driver, served=False):
    with AgentHost(driver, served=served) as host:
        for recipient in ("alice+lists@example.com", "alice@example.com", "heidi@example.com",
                          "heidi+News.2026@example.com", "o'brien+x@example.com",
                          "erin@example.org", "frank+box@example.org", "frank@example.org",
                          "heidi+box@example.net"):
            host.send(recipient)
        host.postfix.wait_empty()
        log = host.postfix.log()
        assert "status=bounced" not in log and "status=deferred" not in log, log[-3000:]
        for address, folder, start in (
                ("alice@example.com", ".lists", head("alice@example.com")),
                ("alice@example.com", "", head("alice@example.com")),
                ("heidi@example.com", "", head("heidi@example.com")),
                ("heidi@example.com", ".News.2026", head("heidi@example.com")),
                ("o'brien@example.com", ".x", head("o'brien@example.com")),
                ("erin@example.org", "", head("erin@example.org")),
                ("frank@example.org", ".box", head("frank+box@example.org")),
                ("frank@example.org", "", head("frank@example.org")),
                ("heidi@example.com", ".Junk",
                 b"Return-Path: <someone@remote.test>\nDelivered-To: heidi@example.net\n"
                 b"X-Original-To: heidi+box@example.net\nDelivered-To: heidi+box@example.net\n"
                 b"Received: ")):
            data = host.one(address, folder)
            assert data.startswith(start), (address, folder, data[:300])
            assert data.endswith(b"\n\nbody\n"), data
        if served:  # all but the four with a folder behind -m
            assert host.handed_over() == 5, host.daemons["lmtp"].log()


def test_forms_with_sqlite():
    check_forms("sqlite")


def test_forms_with_mariadb():
    check_forms("mysql")


def test_forms_handed_over_with_sqlite():
    check_forms("sqlite", served=True)


def test_forms_handed_over_with_mariadb():
    check_forms("mysql", served=True)


def check_null_sender_and_size(served):
    with AgentHost(served=served) as host:
        host.send("heidi@example.com", sender="")
        assert host.one("heidi@example.com").startswith(
            head("heidi@example.com", sender="")), "null sender"
        host.send("frank@example.org", BIG)
        data = host.one("frank@example.org")
        assert data.endswith(BIG.split(b"\r\n", 1)[1].replace(b"\r\n", b"\n")), len(data)
        host.send("erin@example.org", DOTS)
        assert host.one("erin@example.org").endswith(DOTS.replace(b"\r\n", b"\n")[10:])
        host.postfix.wait_empty()
        if served:
            assert host.handed_over() == 3, host.daemons["lmtp"].log()


def test_null_sender_and_size():
    check_null_sender_and_size(False)
    check_null_sender_and_size(True)


def outcome(host, recipient, wanted):
    """Sends, and waits for the log line of that delivery."""
    before = len(host.postfix.log())
    host.send(recipient)
    lines = []

    def look():
        lines[:] = [line for line in host.postfix.log()[before:].splitlines()
                    if f"to=<{recipient}>" in line and "status=" in line]
        return lines
    wait_for(f"an outcome for {recipient}", look)
    assert wanted in lines[0], lines[0]
    return lines[0]


def check_refusals(served):
    with AgentHost(settings={"lmtp": {"quota_full": "reject", "max_size": "100K"}},
                   served=served) as host:
        for unknown in ("nobody@example.com", "nobody+x@example.org"):
            assert "status=bounced" in outcome(host, unknown, "dsn=5.1.1")
        host.sql("UPDATE mailbox SET quota = 10 WHERE username = 'erin@example.org'")
        assert "status=bounced" in outcome(host, "erin@example.org", "dsn=5.2.2")
        host.send("frank@example.org", b"Subject: big\r\n\r\n" + b"x\r\n" * 100000)
        wait_for("a bounce", lambda: "dsn=5.3.4, status=bounced" in host.postfix.log())
        assert not host.messages("frank@example.org") and not host.messages("erin@example.org")
        if served:
            assert "refused " in host.daemons["lmtp"].log()


def test_refusals():
    check_refusals(False)
    check_refusals(True)


def test_trouble_is_never_a_bounce():
    check_trouble(False)
    check_trouble(True)


def check_trouble(served):
    with AgentHost(served=served) as host:
        host.stop_database()
        assert "dsn=4.3.0" in outcome(host, "frank@example.org", "status=deferred")
        host.start_database()
        host.postfix.wait_empty()
        assert len(host.messages("frank@example.org")) == 1
        os.rename(host.config_path, host.config_path + ".away")
        assert "dsn=4.3.5" in outcome(host, "heidi@example.com", "status=deferred")
        with open(host.config_path, "w", encoding="utf-8") as config:
            config.write("[lmtp\nnonsense = yes\n")
        assert "dsn=4.3.5" in outcome(host, "erin@example.org", "status=deferred")
        os.rename(host.config_path + ".away", host.config_path)
        host.postfix.wait_empty()
        for address in ("frank@example.org", "heidi@example.com", "erin@example.org"):
            assert len(host.messages(address)) == 1, address
        assert "status=bounced" not in host.postfix.log()


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
        return int(status.read().rpartition(")")[2].split()[1])


def test_killed_parent_publishes_nothing():
    """pipe(8) dies in the middle of a message, before the agent has even begun."""
    with AgentHost() as host:
        with open(f"{host.folder}/halt", "w", encoding="ascii"):
            pass
        host.send("frank@example.org", BIG)
        wait_for("the agent", lambda: os.path.exists(f"{host.folder}/agent.pid"))
        with open(f"{host.folder}/agent.pid", encoding="ascii") as file:
            pid = int(file.read())
        parent = parent_of(pid)
        wait_for("pipe(8) to fill the pipe", lambda: is_stopped(pid) and waits(parent))
        os.unlink(f"{host.folder}/halt")
        os.kill(parent, signal.SIGKILL)
        wait_for("its end", lambda: parent_of(pid) != parent)
        os.kill(pid, signal.SIGCONT)
        wait_for("the agent's end", lambda: not os.path.exists(f"/proc/{pid}"))
        # Postfix has the message still, and tries again: whole, and once.
        host.postfix.wait_empty()
        paths = host.messages("frank@example.org")
        assert len(paths) == 1, paths
        assert os.path.getsize(paths[0]) > len(BIG.replace(b"\r\n", b"\n"))
        assert not os.listdir(os.path.join(host.maildir("frank@example.org"), "tmp"))


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
        return status.read().rpartition(")")[2].split()[0] == "T"


def waits(pid):
    with open(f"/proc/{pid}/wchan", encoding="ascii") as channel:
        return channel.read().strip() not in ("", "0")


def is_mounted(folder):
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == folder for line in mounts)


def test_init_as_parent():
    """In a container pid 1 may be the caller. (In a chroot nothing can be mounted apart.)"""
    own_proc = ["--mount-proc"] if is_mounted("/") else []
    with AgentHost() as host:
        done = subprocess.run(
            ["unshare", "--pid", "--fork", *own_proc, "sh", "-c",
             f"echo x | {host.folder}/agent -f a@b.test -d frank@example.org; exit $?"],
            stdout=subprocess.PIPE, check=False)
        assert done.returncode == 0, done
        assert len(host.messages("frank@example.org")) == 1


def test_server_comes_and_goes():
    """Nobody may notice: stopped, out of reach, hung, back again."""
    with AgentHost(served=True) as host:
        daemon, path = host.daemons["lmtp"], os.path.join(host.sockets, "lmtp")
        count = 0

        def deliver(by_server):
            nonlocal count
            before = host.handed_over()
            host.send("frank@example.org")
            host.postfix.wait_empty()
            count += 1
            assert len(host.messages("frank@example.org")) == count
            assert host.handed_over() == before + by_server
        deliver(True)
        os.chmod(path, 0o660)  # as it is by default: the owner of the mail may
        deliver(True)
        os.chown(path, 0, 0)
        os.chmod(path, 0o600)
        deliver(False)
        os.chmod(path, 0o666)
        deliver(True)
        daemon.signal(signal.SIGSTOP)
        deliver(False)
        daemon.signal(signal.SIGCONT)
        deliver(True)
        assert daemon.stop() == 0
        deliver(False)
        daemon.start()
        deliver(True)
        daemon.kill()  # its socket stays
        deliver(False)
        assert "status=deferred" not in host.postfix.log()


def bytes_read(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as counters:
        return int(counters.readline().split()[1])


def test_server_killed_before_its_reply():
    """The message is in the server's hands, and nobody knows what became of it: deferred."""
    with AgentHost(settings={"database": {"query_timeout": "60s"}}, served=True) as host:
        with contextlib.closing(sqlite3.connect(host.sqlite_path)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            host.send("frank@example.org", b"Subject: x\r\n\r\n" + LINE * 700)
            wait_for("the agent", lambda: os.path.exists(f"{host.folder}/agent.pid"))
            with open(f"{host.folder}/agent.pid", encoding="ascii") as file:
                pid = int(file.read())
            # It reads the message only when the server has greeted.
            wait_for("the message to be read", lambda: bytes_read(pid) > 56000 and waits(pid))
            host.daemons["lmtp"].kill()
            wait_for("a deferral", lambda: "status=deferred (the LMTP server has gone away"
                     in host.postfix.log() or "LMTP server has gone away" in host.postfix.log())
            assert "dsn=4.3.0" in host.postfix.log()
            assert not host.messages("frank@example.org")
            lock.rollback()
        host.daemons["lmtp"].start()
        host.postfix.wait_empty()
        assert len(host.messages("frank@example.org")) == 1
