"""Hostile peers, a hostile database and a hostile mail folder: right answers, nothing written outside."""

import concurrent.futures
import os
import re
import shutil
import socket

from rig.dialogue import Dialogue, send
from rig.host import OWNER, Host
from rig.process import wait_for

SANITIZED = ("address",)

BODY = b"From: someone@remote.test\r\nSubject: bad\r\n\r\nhello\r\n"
ALICE = "alice@example.com"


def talk(path, data, half_close=True):
    """Sends DATA and returns everything until the server closes or falls silent for 2 s."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(path)
        try:
            peer.sendall(data)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        answer = b""
        try:
            while data := peer.recv(65536):
                answer += data
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def test_socketmap_peers():
    with Host("sqlite", "4.x", daemons=("lookup",), postfix=False) as host:
        path = f"{host.sockets}/lookup"
        good = b"36:virtual_alias_maps sales@example.com,"
        assert len(b"virtual_alias_maps sales@example.com") == 36
        for bad in (b"x", b"999999999999999999999:", b"2147483648:abc,", b"4294967297:abc,", b"-1:,",
                    b"03:abc,", b" 3:abc,", b"3:abcd", b"3:abc;", b"3;abc,", b":,", b"36:", b"36",
                    b"\0\0\0\0", b"0:,", b"9" * 100000, b"36:virtual_alias", b"GET / HTTP/1.0\r\n\r\n"):
            answer = talk(path, bad)
            assert b"OK" not in answer and b"NOTFOUND" not in answer, (bad[:40], answer)
            assert b"alice" in talk(path, good), "the next peer is served"
        for odd in (b"18:virtual_alias_maps,", b"19:virtual_alias_maps ,", b"1: ,", b"2:a ,",
                    b"22:virtual_alias_maps a\0b,", b"24:virtual_alias_maps \xff\xfe@x.,"):
            answer = talk(path, odd)
            assert b"OK" not in answer, (odd, answer)
        # Split anywhere, and two at once.
        for cut in range(1, len(good)):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(20)
                peer.connect(path)
                peer.sendall(good[:cut])
                peer.sendall(good[cut:] + good)
                answer = b""
                while answer.count(b"OK") < 2:
                    data = peer.recv(4096)
                    assert data, answer
                    answer += data
        key = b"virtual_alias_maps " + b"a" * 20000 + b"@example.com"
        assert b"NOTFOUND" in talk(path, b"%d:%s," % (len(key), key))
        silent = [socket.socket(socket.AF_UNIX) for _ in range(200)]
        try:
            for peer in silent:
                peer.connect(path)
                peer.sendall(b"36:virtual")
            assert b"alice" in talk(path, good), "200 half requests hold nobody up"
        finally:
            for peer in silent:
                peer.close()


def test_policy_peers():
    with Host("sqlite", "4.x", daemons=("policy",), postfix=False) as host:
        path = f"{host.sockets}/policy"
        good = b"request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=alice@example.com\n\n"
        assert talk(path, good) == b"action=DUNNO\n\n"
        for bad in (b"\n\n", b"no equals sign\n\n", b"=\n\n", b"request=x\0y\n\n", b"a" * 200000,
                    b"request=smtpd_access_policy\n" * 20000, b"request=junk\n\n", b"\xff\xff=\xff\n\n"):
            answer = talk(path, bad)
            assert answer.replace(b"action=DUNNO\n\n", b"") == b"", (bad[:40], answer)
            assert talk(path, good) == b"action=DUNNO\n\n"
        for state in (b"CONNECT", b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"END-OF-MESSAGE",
                      b"VRFY", b"ETRN", b"", b"NEW-STATE"):
            answer = talk(path, b"request=smtpd_access_policy\nprotocol_state=" + state
                          + b"\nsize=99999999999999999999\nrecipient_count=-5\nrecipient=\n\n")
            assert answer == b"action=DUNNO\n\n", (state, answer)
        assert talk(path, good * 50) == b"action=DUNNO\n\n" * 50


def test_lmtp_peers():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False) as host:
        path = f"{host.sockets}/lmtp"
        for bad in (b"\0" * 10000 + b"\r\n", b"LHLO\r\n", b"A" * 100000 + b"\r\nQUIT\r\n",
                    b"LHLO x\r\nMAIL FROM:<\xff\xfe@x>\r\nQUIT\r\n",
                    b"LHLO x\r\nMAIL FROM:<a@b> SIZE=99999999999999999999999\r\nQUIT\r\n",
                    b"LHLO x\r\nMAIL FROM:<" + b"a" * 3000 + b"@b>\r\nQUIT\r\n",
                    b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nhalf a mess"):
            talk(path, bad)
            assert not host.messages(ALICE)
        with Dialogue(path) as dialogue:
            dialogue.expect(220, None)
            dialogue.expect(500, "A" * 50000)
            dialogue.expect(250, "LHLO client.example.test")
            dialogue.expect(503, "DATA")
            dialogue.expect(250, "MAIL FROM:<>")
            dialogue.expect(503, "MAIL FROM:<>")
            dialogue.expect(503, "DATA")
            dialogue.expect(550, "RCPT TO:<nobody@example.com>")
            dialogue.expect(501, "RCPT TO:<>")
            dialogue.expect(250, f"RCPT TO:<{ALICE}>")
            dialogue.expect(354, "DATA")
            dialogue.send(b"Subject: smuggle\r\n\r\nfirst\n.\nsecond\r\n.\rthird\r.\r\nfourth\n.\r\nfifth\r\n.\r\n")
            dialogue.expect(250, None)
            dialogue.expect(221, "QUIT")
        assert len(host.messages(ALICE)) == 1
        with open(host.messages(ALICE)[0], "rb") as message:
            assert message.read().endswith(
                b"\n\nfirst\n.\nsecond\n\rthird\r.\nfourth\n.\nfifth\n")


def write_maildir(host, path):
    host.sql(f"UPDATE mailbox SET maildir = '{path}' WHERE username = '{ALICE}';")


def deliver(host, recipient=ALICE):
    return send(f"{host.sockets}/lmtp", "someone@remote.test", [recipient], BODY,
                greeting="LHLO")[recipient]


def snapshot(folder, without):
    found = []
    for top, names, files in os.walk(folder):
        names[:] = [name for name in names if os.path.join(top, name) not in without]
        found += [os.path.join(top, name) for name in names + files]
    return sorted(found)


def test_mail_paths_out_of_the_database():
    with Host("sqlite", "4.x", daemons=("lmtp", "lookup"), postfix=False) as host:
        logs = [daemon.log_path for daemon in host.daemons.values()]
        outside = os.path.join(host.folder, "outside")
        os.mkdir(outside)
        shutil.chown(outside, OWNER, "nogroup")
        before = [path for path in snapshot(host.folder, ()) if path not in logs]
        for path in ("../outside/", "example.com/../../outside/", "/etc/", f"{outside}/", "..", ".",
                     "a//b/", "a/./b/", "", " ", "a\nb/", "\x01/", "x" * 5000 + "/", "x/" * 3000,
                     "example.com/" + "y" * 300 + "/"):
            write_maildir(host, path)
            answer = deliver(host)
            assert answer.startswith("4"), (path[:50], answer)
        after = [path for path in snapshot(host.folder, ()) if path not in logs]
        # Folders on the way to a path that turned out too long may be left, below the base only.
        assert [path for path in after if not path.startswith(host.mail)] == \
            [path for path in before if not path.startswith(host.mail)]
        write_maildir(host, "example.com/alice/")
        assert deliver(host).startswith("250")
        assert "alice@example.com" in host.daemons["lmtp"].log()


def test_symbolic_links_below_the_base():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False) as host:
        outside = os.path.join(host.folder, "outside")
        for name in ("", "new", "cur", "tmp"):
            os.makedirs(os.path.join(outside, name), exist_ok=True)
            shutil.chown(os.path.join(outside, name), OWNER, "nogroup")
        domain = os.path.join(host.mail, "example.com")
        os.symlink(outside, domain)
        assert deliver(host).startswith("4")
        os.unlink(domain)
        os.mkdir(domain)
        shutil.chown(domain, OWNER, "nogroup")
        os.symlink(outside, os.path.join(domain, "alice"))
        assert deliver(host).startswith("4")
        os.unlink(os.path.join(domain, "alice"))
        assert deliver(host).startswith("250")
        new = os.path.join(domain, "alice", "new")
        shutil.rmtree(new)
        os.symlink(os.path.join(outside, "new"), new)
        assert deliver(host).startswith("4")
        assert snapshot(outside, ()) == sorted(os.path.join(outside, n) for n in ("new", "cur", "tmp"))
        os.unlink(new)
        assert deliver(host).startswith("250")


def at_once(host, maps, key):
    """Each map's answer; at once, for postmap sleeps on an error."""
    with concurrent.futures.ThreadPoolExecutor(len(maps)) as pool:
        return list(pool.map(lambda name: host.map(name, key), maps))


def odd_rows(host, blob):
    """NULL, blanks, 1 MB and invalid UTF-8 where the fixtures have good text."""
    big = "x" * 1000000
    for value in ("NULL", "''", "'   '", f"'{big}'", blob("fffe80"), blob("00"), "', , ,'", "'\"'"):
        for column, key in (("goto", "sales@example.com"), ("goto", "ext@example.com")):
            try:
                host.sql(f"UPDATE alias SET {column} = {value} WHERE address = '{key}';")
            except AssertionError:
                continue  # this database refuses to hold it
            maps = ("virtual_alias_maps", "smtpd_sender_login_maps", "virtual_mailbox_maps")
            for kind, answer in at_once(host, maps, key):
                assert kind in ("ok", "notfound", "error"), (value[:20], kind)
                assert kind != "ok" or answer.strip(), (value[:20], answer)
            assert host.map("virtual_alias_maps", "erin@example.org") == ("ok", "erin@example.org")
    for table, key, column in (("mailbox", "username", "quota"), ("mailbox", "username", "active"),
                               ("mailbox", "username", "password")):
        for value in ("NULL", "''", "'abc'", "-99999999999", blob("ff")):
            try:
                host.sql(f"UPDATE {table} SET {column} = {value} WHERE {key} = 'heidi@example.com';")
            except AssertionError:
                continue
            maps = ("virtual_mailbox_maps", "virtual_alias_maps", "smtpd_sender_login_maps")
            for kind, _ in at_once(host, maps, "heidi@example.com"):
                assert kind in ("ok", "notfound", "error")
            answer = deliver(host, "heidi@example.com")
            assert answer[:3] in ("250", "550", "451", "452"), (column, value, answer)
    wait_for("the others to be served as ever", lambda: deliver(host, "erin@example.org")[:3] == "250")


def test_odd_rows_sqlite():
    with Host("sqlite", "4.x") as host:
        odd_rows(host, lambda digits: f"CAST(x'{digits}' AS TEXT)")


def test_odd_rows_mariadb():
    with Host("mysql", "4.x") as host:
        odd_rows(host, lambda digits: f"x'{digits}'")


def test_keys_that_only_the_wrong_hands_would_send():
    """SQL never sees a key as text: quotes, percent signs and escapes are just letters."""
    for driver in ("sqlite", "mysql"):
        with Host(driver, "4.x") as host:
            for key in ("' OR '1'='1@example.com", "a'--@example.com", "%@example.com", "_@example.com",
                        "alice@example.com' OR '1'='1", "\\'@example.com", "a\\@example.com",
                        "x\"y@example.com", "%s%n@example.com", "bf27@example.com", "é@example.com",
                        "用户@example.com", "alice@example.com\u00a0", "a" * 900 + "@example.com"):
                kind, answer = host.map("virtual_alias_maps", key)
                assert kind == "notfound", (driver, key, kind, answer)
            assert host.map("virtual_alias_maps", "o'brien@example.com") == ("ok", "o'brien@example.com")


def test_configuration_files():
    with Host("sqlite", "4.x", daemons=(), postfix=False) as host:
        good = open(host.config_path, encoding="utf-8").read()
        for text, words in (("[lookup]\nworkerz = 3\n", ("workerz", "workers")),
                            ("[lookpu]\nworkers = 3\n", ("lookpu", "lookup")),
                            ("[lookup]\nworkers = 99999999999999999999\n", ("workers",)),
                            ("[lookup]\nworkers = 12abc\n", ("workers", "12abc")),
                            ("[database]\ndriver = oracle\n", ("driver", "oracle")),
                            ("[database]\nquery_timeout = 3 parsecs\n", ("query_timeout",)),
                            ("[lookup]\nworkers = 3\nworkers = 4\n", ("workers",)),
                            ("workers = 3\n", ()), ("[lookup\nworkers = 3\n", ()),
                            ("[lookup]\n" + "x" * 5000 + " = 1\n", ()),
                            ("[schema]\npreset = nonesuch\n", ("nonesuch",))):
            bad = os.path.join(host.folder, "bad.ini")
            with open(bad, "w", encoding="utf-8") as out:
                out.write(good if "preset" in text else "")
                out.write(text if "preset" not in text else "")
            if "preset" in text:
                with open(bad, "w", encoding="utf-8") as out:
                    out.write(re.sub("preset = .*", "preset = nonesuch", good))
            os.chmod(bad, 0o600)
            done = host.postern("-c", bad, "config", "test")
            assert done.returncode == 78, (text[:60], done.returncode, done.stderr)
            assert "bad.ini" in done.stderr or "nonesuch" in done.stderr, done.stderr
            for word in words:
                assert word in done.stderr, (text[:60], done.stderr)
