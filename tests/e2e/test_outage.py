"""The database goes away: 451 and 454 everywhere, not one bounce, not one 535, nothing lost."""

import re
import threading
import time

from rig.dialogue import Dialogue, auth_login, auth_plain, send
from rig.host import Host
from rig.process import wait_for

SANITIZED = ("thread",)

BODY = b"From: someone@remote.test\r\nMessage-ID: <%s@remote.test>\r\nSubject: outage\r\n\r\nhello\r\n"


def ids(host, address):
    """Message-IDs in a mailbox."""
    found = []
    for path in host.messages(address):
        with open(path, "rb") as message:
            found += re.findall(rb"^Message-ID: <(\S+)@remote.test>", message.read(), re.MULTILINE)
    return found


def auth_answers(host):
    for method in (auth_plain, auth_login):
        for login, password in (("alice@example.com", "alice-password"), ("nobody@example.com", "x")):
            with Dialogue(host.postfix.submission_port) as dialogue:
                dialogue.expect(220, None)
                dialogue.expect(250, "EHLO client.example.test")
                yield method(dialogue, login, password)


def everything_is_temporary(host):
    for answer in auth_answers(host):
        assert answer.startswith("454"), answer
    for recipient in ("alice@example.com", "nobody@example.com", "x@nowhere.test"):
        answers = send(host.postfix.smtp_port, "someone@remote.test", [recipient], BODY % b"never")
        assert answers[recipient].startswith("451"), answers
    answers = send(f"{host.sockets}/lmtp", "someone@remote.test",
                   ["alice@example.com", "nobody@example.com"], BODY % b"never", greeting="LHLO")
    for answer in answers.values():
        assert answer.startswith("451"), answers


def nothing_permanent(host):
    log = host.postfix.log()
    for bad in (r"status=bounced", r" 535 ", r"sender non-delivery", r"reject: RCPT.*: 5\d\d "):
        assert not re.search(bad, log), re.search(rf".*{bad}.*", log).group(0)


def forget_failures(host):
    """smtpd keeps the resolver's failures for as long as it lives, qmgr the last one for 30 s."""
    wait_for("answers", lambda: host.map("virtual_mailbox_domains", "example.com")[0] == "ok")
    host.postfix.reload()


def outage(host):
    host.daemons["lmtp"].stop()
    queued = [b"queued%d" % number for number in range(20)]
    for name in queued:
        answers = send(host.postfix.smtp_port, "someone@remote.test",
                       ["alice@example.com", "c1@example.com"], BODY % name)
        assert all(answer.startswith("250") for answer in answers.values()), answers
    host.stop_database()
    host.daemons["lmtp"].start()
    everything_is_temporary(host)
    host.postfix.flush()
    wait_for("queued mail to be tried and deferred",
             lambda: re.search(r"status=deferred .*4[25]1", host.postfix.log()), 30)
    everything_is_temporary(host)
    host.daemons["lookup"].stop()  # also a start without a database must serve TEMP
    host.daemons["lookup"].start()
    everything_is_temporary(host)
    nothing_permanent(host)
    host.start_database()
    forget_failures(host)
    host.postfix.wait_empty(90)
    nothing_permanent(host)
    arrived = ids(host, "alice@example.com")
    assert set(arrived) >= set(queued), f"lost: {set(queued) - set(arrived)}"
    assert b"never" not in arrived
    for answer, good in zip(auth_answers(host), (True, False, True, False)):
        assert answer.startswith("235" if good else "535"), answer


def test_mariadb_stopped():
    with Host("mysql", "4.x") as host:
        outage(host)


def test_mariadb_stopped_saslauthd_chroot():
    with Host("mysql", "4.x", chroot=True, auth="saslauthd") as host:
        outage(host)


def test_sqlite_file_gone():
    with Host("sqlite", "4.x") as host:
        outage(host)


def test_mariadb_hangs():
    """SIGSTOP: worse than a dead server. Answers come within the query time-out."""
    with Host("mysql", "4.x") as host:
        send(host.postfix.smtp_port, "someone@remote.test", ["alice@example.com"], BODY % b"before")
        host.database.pause()
        try:
            started = time.monotonic()
            kind, value = host.map("virtual_alias_maps", "sales@example.com")
            assert kind == "error", value
            assert time.monotonic() - started < 15
            answers = send(host.postfix.smtp_port, "someone@remote.test", ["alice@example.com"],
                           BODY % b"never")
            assert answers["alice@example.com"].startswith("451"), answers
        finally:
            host.database.resume()
        wait_for("answers", lambda: host.map("virtual_alias_maps", "ext@example.com")[0] == "ok")
        nothing_permanent(host)


def test_mariadb_flaps_under_load():
    """Kill and restart it while mail is sent: what got 250 arrives, exactly the rest got 4xx."""
    with Host("mysql", "4.x") as host:
        accepted, refused, stop = [], [], threading.Event()

        def sender(which):
            number = 0
            while not stop.is_set():
                name = b"load%d.%d" % (which, number)
                number += 1
                answers = send(host.postfix.smtp_port, "someone@remote.test",
                               ["alice@example.com"], BODY % name)
                answer = answers["alice@example.com"]
                (accepted if answer.startswith("250") else refused).append((name, answer))

        threads = [threading.Thread(target=sender, args=(which,)) for which in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                before = len(accepted)
                wait_for("accepted mail", lambda: len(accepted) > before + 10, 60)  # noqa: B023
                host.database.kill()
                before_refused = len(refused)
                wait_for("refusals", lambda: len(refused) > before_refused + 3, 60)  # noqa: B023
                host.database.start()
                forget_failures(host)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert all(answer.startswith("4") for _, answer in refused), refused
        host.postfix.wait_empty(90)
        arrived = set(ids(host, "alice@example.com"))
        lost = [name for name, _ in accepted if name not in arrived]
        assert not lost, f"{len(lost)} of {len(accepted)} lost: {lost[:5]}"
        nothing_permanent(host)
