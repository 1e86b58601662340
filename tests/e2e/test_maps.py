"""The acceptance table of the fixtures, asked by `postmap -q` of the running daemon."""

import concurrent.futures
import csv
import os

from rig import TOP
from rig.host import Host
from rig.process import wait_for

SANITIZED = ("address",)

WORDS = {"NOTFOUND": "notfound", "PERM": "error", "TEMP": "error"}


def expected(layout):
    """Rows (map, key, answer) of the table that hold for LAYOUT."""
    with open(os.path.join(TOP, "tests", "fixtures", "expected.tsv"), encoding="utf-8") as table:
        for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            if not row or row[0].startswith("#"):
                continue
            if len(row) > 3 and row[3] and layout not in row[3].split(","):
                continue
            yield row[0], row[1], row[2]


def ask(host, rows):
    """((map, key, answer), (kind, value)) for each row. At once, for postmap sleeps on an error."""
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return list(zip(rows, pool.map(lambda row: host.map(*row[:2]), rows)))


def ask_all(host, layout):
    wrong = []
    count = 0
    for (name, key, answer), (kind, value) in ask(host, list(expected(layout))):
        count += 1
        good = kind == WORDS.get(answer, "ok") and (answer in WORDS or value == answer)
        if not good:
            wrong.append(f"{name} {key!r}: {kind} {value!r}, not {answer!r}")
    assert count > 60, f"only {count} rows in the table"
    assert not wrong, "\n".join(wrong)


def table(driver, layout):
    with Host(driver, layout, daemons=("lookup",)) as host:
        ask_all(host, layout)
        host.stop_database()
        seen = set()
        for (name, key, _), (kind, value) in ask(host, list(expected(layout))):
            # Keys that can be judged without the database may still be answered "not found".
            if kind == "notfound" and not could_be_an_address(name, key):
                continue
            assert kind == "error", f"database stopped, {name} {key!r}: {kind} {value!r}"
            seen.add(name)
        assert len(seen) >= 6, f"only these maps were TEMP: {seen}"
        host.start_database()
        name, key, answer = next(row for row in expected(layout) if row[2] not in WORDS)
        wait_for("answers after the database is back",
                 lambda: host.map(name, key) == ("ok", answer), 15)
        ask_all(host, layout)


def could_be_an_address(name, key):
    if name in ("virtual_mailbox_domains", "relay_domains"):
        return "@" not in key and "*" not in key and key.strip() == key and key != ""
    local, at, domain = key.rpartition("@")
    return bool(local and at and domain) or (name == "transport_maps" and key not in ("*", ""))


def test_sqlite_4x():
    table("sqlite", "4.x")


def test_sqlite_33():
    table("sqlite", "3.3")


def test_sqlite_21():
    table("sqlite", "2.1")


def test_mariadb_4x():
    table("mysql", "4.x")


def test_mariadb_33():
    table("mysql", "3.3")


def test_mariadb_21():
    table("mysql", "2.1")


def test_unknown_map_is_an_error():
    """A typing error in main.cf must not bounce mail."""
    with Host("sqlite", "4.x", daemons=("lookup",)) as host:
        kind, value = host.map("virtual_alias_mapz", "alice@example.com")
        assert kind == "error", value
