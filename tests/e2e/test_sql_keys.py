"""No key ever becomes SQL text: every map of every preset, asked for the worst keys as raw bytes."""

import os
import re
import sys

from rig import TOP
from rig.host import Host
from rig.process import check
from rig.socketmap import Socketmap

SANITIZED = ("address",)

MAPS = ("virtual_mailbox_domains", "virtual_mailbox_maps", "virtual_alias_maps", "relay_domains",
        "relay_recipient_maps", "transport_maps", "smtpd_sender_login_maps", "recipient_bcc_maps",
        "sender_bcc_maps", "sender_dependent_relayhost_maps", "smtp_sasl_password_maps",
        "smtp_tls_policy_maps", "quota", "uid", "gid", "home", "site")

SETTINGS = {
    "log": {"level": "info"},
    "map site": {"key": "any", "search": "full",
                 "query": "SELECT 'hit' FROM (SELECT 1 AS one) AS t WHERE :key = 'o''brien@example.com'"},
}

# In every key that is no variant of a row, so that a server's log shows where keys went.
MARK = b"zqx"

TEXTS = [text.encode() for text in (
    "zqx'", "'zqx", "'zqx'", "zqx''", "zqx' OR '1'='1", "zqx' OR 1=1 -- ", "zqx' OR 1=1#", "zqx') OR ('1'='1",
    "zqx\" OR \"\"=\"", "zqx`", "zqx\\", "zqx\\\\", "zqx\\'", "zqx\\' OR 1=1 -- ", "\\zqx", "zqx\\\"",
    "zqx%", "%zqx", "%", "_", "zqx_", "zqx%s%n%1$s", "%zqx%00", "zqx\\0", "zqx\\x00", "zqx\\n", "zqx%27",
    "zqx;", "zqx'; DROP TABLE mailbox; -- ", "zqx'; DROP TABLE users; -- ",
    "zqx'; DELETE FROM alias; COMMIT; -- ", "zqx'; UPDATE mailbox SET password = ''; -- ",
    "zqx' UNION SELECT 'alice@example.com', 'x', 1, 1 -- ", "zqx' UNION ALL SELECT NULL -- ",
    "zqx' AND SLEEP(30) -- ", "zqx'||(SELECT 'x')||'", "zqx' INTO OUTFILE '/tmp/zqx", "zqx/*", "*/zqx/*",
    "zqx' /*!50000 OR 1=1 */ -- ", "zqx#", "zqx--", ":zqx", ":address", "?zqx", "$1zqx", "@zqx", "@@zqx",
    "${zqx}", "{zqx}", "zqx()", "0x7a7178", "x'7a7178'", "NULL", "zqx\t", "zqx\n", "zqx\r\n", "zqx\x1a", "zqx\x7f",
    "zqx\u0000", "\u0000zqx", "zqx\u0000' OR '1'='1", "zqx\u0085",
    # What a conversion to another character set could make a quote or a backslash of.
    "zqx\u02bc OR 1=1 -- ", "zqx\u2019", "zqx\uff07", "zqx\u00a5' OR 1=1 -- ", "zqx\u20a9", "zqx\ufe68",
    "zqx\u0130", "zqx\u212a", "zqx\u00df", "zqx\U0001f600", "zqx\u0301", "zqx\u200b", "zqx\ufeff", "zqx\uffff",
    "zqx" + "'" * 800, "zqx" + "\\" * 800, "zqx" + "\u00e9" * 400, "zqx" + "\U0001f600'" * 150)]

# Bytes that are no UTF-8: half characters that swallow a quote, overlong quotes, surrogates.
TEXTS += [b"zqx\xbf' OR 1=1 -- ", b"zqx\xbf\\' OR 1=1 -- ", b"zqx\xbf\\", b"zqx\x81'", b"zqx\xe5'",
          b"zqx\xc0\xa7", b"zqx\xe0\x80\xa7", b"zqx\xc0\x80", b"zqx\xed\xa0\x80", b"zqx\xf4\x90\x80\x80",
          b"zqx\xe2\x80", b"zqx\xf0\x9f\x98", b"\xffzqx", b"\x80zqx", b"zqx\xc3"]

# Variants of a row that are no row, whatever a collation or a pattern would think.
NEARLY = [text.encode() for text in (
    "al%ce@example.com", "alic_@example.com", "alice@example.co_", "%@example.com", "alice'@example.com",
    "alice\\@example.com", "alice@example.com\\", "alice@example.com'", "alice@example.com' -- ",
    "alice\u0000@example.com", "alice@example.com\u0000", "alice@example.com ", "alice@example.com\u00a0",
    "\u00e1lice@example.com", "al\u0131ce@example.com", "alice@ex\u00e1mple.com", "\uff41lice@example.com",
    "alice@example.com\u0000' OR '1'='1", "alice\u200b@example.com", "o''brien@example.com",
    "o\\'brien@example.com", "o\u2019brien@example.com", "o%brien@example.com")]

NOBODY = b"nobody@example.com"


def keys():
    for text in TEXTS:
        yield text
        yield text + b"@example.com"
        yield b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"@example.com'
        yield b"x@example.com" + text
    yield from NEARLY


def schemas(driver):
    """(schema, layout) of every preset; the default database is SQLite's alone."""
    for name in sorted(os.listdir(os.path.join(TOP, "schemas"))):
        schema, extension = os.path.splitext(name)
        if extension == ".ini":
            generator = os.path.join(TOP, "tests", "fixtures", f"{schema}.py")
            layouts = re.search(r"--layout \{(.+?)\}", check([sys.executable, generator, "--help"])).group(1)
            for layout in layouts.split(","):
                if driver == "sqlite" or layout != "default":
                    yield schema, layout


def ask_everything(host, schema):
    wrong, count = [], 0
    with Socketmap(f"{host.sockets}/lookup") as client:
        for name in MAPS:
            # A row for the whole domain may answer for all its addresses.
            allowed = {client.ask(name, NOBODY): b"@example.com", b"NOTFOUND ": b""}
            for key in keys():
                reply = client.ask(name, key)
                count += 1
                if reply not in allowed or not key.endswith(allowed[reply]):
                    wrong.append(f"{schema} {host.layout} {name} {key[:80]!r}: {reply[:200]!r}")
        # Letters like any other, where the address is a row.
        for name, key in (("virtual_mailbox_maps", b"o'brien@example.com"), ("site", b"o'brien@example.com"),
                          ("virtual_mailbox_maps", b"\"o'brien\"@example.com"),
                          ("virtual_mailbox_maps", b"alice+zqx'\\%--@example.com")):
            reply = client.ask(name, key)
            if not reply.startswith(b"OK "):
                wrong.append(f"{schema} {host.layout} {name} {key!r}: {reply!r}")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])


def presets(host):
    seen = set()
    for schema, layout in schemas(host.driver):
        host.load(schema, layout)
        before = host.dump()
        assert "INSERT INTO" in before
        ask_everything(host, schema)
        assert host.dump() == before, f"{schema} {layout} was changed"
        assert host.daemons["lookup"].process.poll() is None
        seen.add(schema)
    assert len(seen) >= 4, seen


def test_sqlite():
    with Host("sqlite", "4.x", settings=SETTINGS, daemons=("lookup",), postfix=False) as host:
        presets(host)


def logged(host, *kinds):
    """How many statements of these kinds, from our programs, had MARK in their text."""
    return int(host.database.run(
        "SELECT COUNT(*) FROM mysql.general_log WHERE user_host NOT LIKE 'root%' AND command_type IN"
        f" ({', '.join(repr(kind) for kind in kinds)}) AND argument LIKE '%{MARK.decode()}%';"))


def test_mariadb():
    with Host("mysql", "4.x", settings=SETTINGS, daemons=("lookup",), postfix=False) as host:
        host.database.run("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1;")
        presets(host)
        # The server's own word: keys came as values of prepared statements, never in a text.
        assert logged(host, "Query", "Prepare") == 0
        assert logged(host, "Execute") > 1000
