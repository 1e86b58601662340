"""Dovecot's and Courier's IMAP servers read what is delivered, while it is delivered."""

import os
import re
import threading
import time

from rig import ledger
from rig.client import Load, agent, deliver
from rig.courier import Courier
from rig.dovecot import Dovecot
from rig.host import Host

ALICE = "alice@example.com"
PASSWORD = "imap-password"
LIMIT = 100 << 20
# The limit that the fixtures give her, so that both sides write the same file.
QUOTA = f"""
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage={LIMIT >> 10}
  quota_grace = 0
}}
maildir_broken_filename_sizes = no
"""


# What Courier shows of a file that another of its sessions renames at the moment; looked at again.
RENAMED = b"From: System Administrator <root@localhost>\nSubject: message unavailable\n"


class Reader(threading.Thread):
    """Reads and flags what comes, until told to end."""

    def __init__(self, connect):
        super().__init__()
        self.client, self.ended = connect(), threading.Event()
        self.looked_at, self.faults = set(), []

    def run(self):
        try:
            while not self.ended.is_set():
                self.look(self.client)
            self.client.logout()
        except Exception as fault:  # whatever it is, the test is to know
            self.faults.append(repr(fault))

    def look(self, client, most=40):
        kind, selected = client.select("INBOX")
        assert kind == "OK", selected
        if int(selected[0]) == 0:
            return
        _, uids = client.uid("SEARCH", "ALL")
        new = [uid for uid in uids[0].split() if uid not in self.looked_at]
        for uid in new[-most:]:
            _, data = client.uid("FETCH", uid, "(RFC822.SIZE BODY.PEEK[])")
            # Flags that the other reader has set come in between.
            (place, (header, body)), = [(place, part) for place, part in enumerate(data)
                                        if isinstance(part, tuple)]
            if body.replace(b"\r\n", b"\n").startswith(RENAMED):
                continue
            said = int(re.search(rb"RFC822.SIZE (\d+)", header + data[place + 1]).group(1))
            assert said == len(body), f"RFC822.SIZE {said}, {len(body)} bytes"
            ledger.whole(body.replace(b"\r\n", b"\n"))
            self.looked_at.add(uid)
            if int(uid) % 3 == 0:
                kind, said = client.uid("STORE", uid, "+FLAGS", r"(\Seen \Answered)")
                assert kind == "OK", said


def imap_usage(client):
    """(KiB, messages) that GETQUOTAROOT tells."""
    kind, (_, *quotas) = client.getquotaroot("INBOX")
    text = " ".join(part.decode() for quota in quotas for part in quota if part)
    assert kind == "OK" and "STORAGE" in text, quotas
    found = re.search(r"STORAGE (\d+) (\d+)", text)
    assert int(found.group(2)) == LIMIT >> 10, text
    return int(found.group(1))


def kibibytes(maildir):
    return -(-sum(size for _, size in ledger.files(maildir)) // 1024)


def check_usage(maildir, client):
    ledger.check_quota_file(maildir)
    said = imap_usage(client)
    assert abs(said - kibibytes(maildir)) <= 1, f"IMAP says {said} KiB, there are {kibibytes(maildir)}"


def read_while_delivering(host, account, connect):
    readers = [Reader(connect) for _ in range(2)]
    # So that the first index is made with mail coming in, too.
    with Load(f"{host.sockets}/lmtp", {ALICE: account}, 2, 1, pause=0.01) as load:
        for reader in readers:
            reader.start()
        for number in range(10):
            assert agent(host, f"agent.{number}", ALICE, account) == 0
            time.sleep(0.1)  # some looks of the readers lie between two deliveries
    for reader in readers:
        reader.ended.set()
    for reader in readers:
        reader.join()
        assert not reader.faults, reader.faults
        assert reader.looked_at
    # The other one's flags are renames, during which a reader may overlook a file until it looks again.
    client = connect()
    readers[0].look(client, 1000000)
    client.logout()
    assert len(readers[0].looked_at) == len(account.acknowledged), \
        f"{len(readers[0].looked_at)} read of {len(account.acknowledged)}"
    assert not load.faults and not account.refused, (load.faults, account.said)
    account.check(host.maildir(ALICE))


def change_and_deliver(host, account, client):
    """Half of it is removed by IMAP, and copied into a folder, to which mail comes as well."""
    maildir = host.maildir(ALICE)
    assert client.create("INBOX.Lists" if isinstance(client, Courier) else "Lists")[0] == "OK"
    kind, selected = client.select("INBOX")
    half = int(selected[0]) // 2
    assert client.store(f"1:{half}", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.expunge()[0] == "OK"
    check_usage(maildir, client)
    gone = account.acknowledged - set(ledger.present(maildir))
    assert len(gone) == half
    account.acknowledged -= gone
    folder = ledger.Ledger()
    deliver(f"{host.sockets}/lmtp", "into-a-folder", {"alice+Lists@example.com": folder})
    assert folder.acknowledged, folder.said
    assert os.listdir(os.path.join(maildir, ".Lists", "new"))
    account.acknowledged |= folder.acknowledged
    account.check(maildir)
    check_usage(maildir, client)
    kind, selected = client.select("INBOX.Lists" if isinstance(client, Courier) else "Lists")
    assert kind == "OK" and selected == [b"1"], selected


def test_dovecot():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"log": {"level": "warning"}}) as host:
        host.sql(f"UPDATE mailbox SET quota = {LIMIT} WHERE username = '{ALICE}';")
        account = ledger.Ledger()
        assert agent(host, "first", ALICE, account) == 0
        dovecot = Dovecot(host.folder, {"alice": (PASSWORD, host.maildir(ALICE))}, "nobody", "nogroup")
        with open(dovecot.config, "a", encoding="utf-8") as config:
            config.write(QUOTA)
        try:
            dovecot.start()
            read_while_delivering(host, account, lambda: dovecot.imap("alice", PASSWORD))
            client = dovecot.imap("alice", PASSWORD)
            check_usage(host.maildir(ALICE), client)
            change_and_deliver(host, account, client)
            client.logout()
            with open(f"{host.folder}/dovecot/dovecot.log", encoding="utf-8") as log:
                text = log.read()
            bad = [line for line in text.splitlines()
                   if re.search(r"Error|Corrupted|Panic|Fatal|Warning", line)]
            assert not bad, bad[:5]
        finally:
            dovecot.stop()


def test_courier():
    with Host("sqlite", "4.x", daemons=("lmtp",), postfix=False,
              settings={"log": {"level": "warning"}}) as host:
        host.sql(f"UPDATE mailbox SET quota = {LIMIT} WHERE username = '{ALICE}';")
        account = ledger.Ledger()
        assert agent(host, "first", ALICE, account) == 0
        domain, name = os.path.split(host.maildir(ALICE))

        def connect():
            return Courier(domain, name, "nobody")
        read_while_delivering(host, account, connect)
        client = connect()
        check_usage(host.maildir(ALICE), client)
        change_and_deliver(host, account, client)
        client.logout()
