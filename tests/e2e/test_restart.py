"""Each helper is restarted under load, its socket kept open: no message is lost or refused."""

import os
import signal
import threading

from rig.activation import ActivatedDaemon
from rig.dialogue import Dialogue, auth_plain, send
from rig.host import Host, program, sanitizer_environment
from rig.process import wait_for

SANITIZED = ("address", "thread")

BODY = b"From: someone@remote.test\r\nMessage-ID: <%s@remote.test>\r\nSubject: load\r\n\r\nhello\r\n"


class Load:
    """Messages by SMTP, logins and lookups, until stopped; remembers every answer that is not good."""

    def __init__(self, host):
        self.host, self.stop_event = host, threading.Event()
        self.sent, self.bad = [], []
        self.threads = [threading.Thread(target=self.send, args=(0,)),
                        threading.Thread(target=self.send, args=(1,)),
                        threading.Thread(target=self.login)]

    def guarded(self, action):
        try:
            action()
        except (OSError, EOFError, AssertionError) as fault:
            self.bad.append(repr(fault))

    def send(self, which):
        number = 0
        while not self.stop_event.is_set():
            name = b"restart%d.%d" % (which, number)
            number += 1

            def one():
                answers = send(self.host.postfix.smtp_port, "someone@remote.test",
                               ["alice@example.com"], BODY % name)
                if all(answer.startswith("250") for answer in answers.values()):
                    self.sent.append(name)
                else:
                    self.bad.append(answers)
            self.guarded(one)

    def login(self):
        while not self.stop_event.is_set():
            def one():
                with Dialogue(self.host.postfix.submission_port) as dialogue:
                    dialogue.expect(220, None)
                    dialogue.expect(250, "EHLO client.example.test")
                    answer = auth_plain(dialogue, "alice@example.com", "alice-password")
                    if not answer.startswith("235"):
                        self.bad.append(answer)
            self.guarded(one)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self.stop_event.set()
        for thread in self.threads:
            thread.join()


def arrived(host):
    found = set()
    for path in host.messages("alice@example.com"):
        with open(path, "rb") as message:
            for line in message:
                if line.startswith(b"Message-ID: <"):
                    found.add(line[13:line.index(b"@remote.test")])
    return found


def test_restart_and_reload_under_load():
    with Host("mysql", "4.x", auth="saslauthd", daemons=()) as host:
        sockets = {"lookup": "postfix-lookup", "lmtp": "lmtp-deliver", "policy": "policyd",
                   "authd": "sasl-authd"}
        host.daemons.pop("authd").stop()
        try:
            for name, binary in sockets.items():
                path = os.path.join(host.sockets, name)
                if os.path.exists(path):
                    os.unlink(path)
                host.daemons[name] = ActivatedDaemon(
                    binary, [program(binary), "-c", host.config_path], host.folder, path,
                    env=sanitizer_environment(host.folder)).start()
            with Load(host) as load:
                wait_for("the load to begin", lambda: len(load.sent) > 5, 60)
                for _ in range(3):
                    for daemon in host.daemons.values():
                        before = len(load.sent)
                        assert daemon.stop() == 0
                        daemon.start()
                        daemon.signal(signal.SIGHUP)
                        wait_for("mail after a restart", lambda: len(load.sent) > before + 2, 60)  # noqa: B023
            assert not load.bad, load.bad[:5]
            host.postfix.wait_empty(60)
            lost = set(load.sent) - arrived(host)
            assert not lost, f"{len(lost)} of {len(load.sent)} lost"
            assert "status=bounced" not in host.postfix.log()
        finally:
            for daemon in host.daemons.values():
                codes = daemon.stop()
                daemon.close()
                assert codes == 0


def test_reload_applies_new_settings_and_keeps_old_ones_when_wrong():
    with Host("sqlite", "4.x", daemons=("lookup",)) as host:
        assert host.map("virtual_alias_maps", "alice+x@example.com") == ("ok", "alice+x@example.com")
        host.sections["address"]["recipient_delimiter"] = "-"
        host.write_config()
        host.daemons["lookup"].signal(signal.SIGHUP)
        wait_for("the new delimiter",
                 lambda: host.map("virtual_alias_maps", "alice-x@example.com")
                 == ("ok", "alice-x@example.com"))
        assert host.map("virtual_alias_maps", "alice+x@example.com")[0] == "notfound"
        host.sections["address"]["recipient_delimiterr"] = "+"
        host.write_config()
        host.daemons["lookup"].signal(signal.SIGHUP)
        wait_for("the complaint", lambda: "recipient_delimiterr" in host.daemons["lookup"].log())
        assert host.map("virtual_alias_maps", "alice-x@example.com") == ("ok", "alice-x@example.com")
        assert host.map("virtual_alias_maps", "alice+x@example.com")[0] == "notfound"
