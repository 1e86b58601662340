"""The cache of postfix-lookup: how much memory it takes when it is full."""

import re
import socket
import subprocess
import threading

from rig.host import Host
from rig.process import free_port

SIZE_MIB = 16
TURNS = 3  # how often the whole cache is replaced
SIZES = (0, 5, 20, 60, 200)  # of keys, beyond what makes them different


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.MULTILINE).group(1)) / 1024


def cached(port):
    """Entries in the cache, and how many had to go."""
    text = subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/metrics"],
                          stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    return [int(re.search(rf"^postern_lookup_cache_{name} (\d+)", text, re.MULTILINE).group(1))
            for name in ("entries", "evictions_total")]


def ask_different_keys(path, which, count):
    """Answers found (a catch-all) and not found, of many sizes; the replies are only counted."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        replies = 0
        for first in range(0, count, 100):
            batch = b""
            for number in range(first, first + 100):
                domain = b"example.org" if number % 2 else b"example.com"
                filler = b"x" * SIZES[number % len(SIZES)]
                request = b"virtual_alias_maps %d.%d.%s@%s" % (which, number, filler, domain)
                batch += b"%d:%s," % (len(request), request)
            client.sendall(batch)
            while replies < first + 100:
                data = client.recv(65536)
                assert data
                replies += data.count(b",")


def test_memory_of_a_full_cache():
    port = free_port()
    ttl = {name: "1h" for name in ("positive_ttl", "negative_ttl", "stale_ttl")}
    with Host("sqlite", "4.x", daemons=("lookup",), postfix=False,
              settings={"lookup": {**ttl, "cache_size": f"{SIZE_MIB}M"}, "log": {"level": "info"},
                        "metrics": {"listen": f"127.0.0.1:{port}"}}) as host:
        pid = host.daemons["lookup"].process.pid
        before = resident_mib(pid)
        entries = evicted = turn = 0
        while evicted <= (TURNS - 1) * entries or entries == 0:
            turn += 1
            assert turn < 200, "the cache does not get full"
            clients = [threading.Thread(target=ask_different_keys, daemon=True,
                                        args=(f"{host.sockets}/lookup", 10 * turn + n, 5000))
                       for n in range(4)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            entries, evicted = cached(port)
        full, limit = resident_mib(pid), SIZE_MIB * 1.3 + 20
        print(f"{entries} entries in {SIZE_MIB} MiB: resident {full:.1f} MiB, {before:.1f} before,"
              f" limit {limit:.1f}")
        assert full <= limit
