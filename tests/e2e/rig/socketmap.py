"""A socketmap client that sends any bytes, as Postfix and postmap do not."""

import socket


class Socketmap:
    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def ask(self, name, key):
        """The whole reply, such as b"NOTFOUND " or b"OK value"."""
        request = name.encode() + b" " + key
        self.socket.sendall(b"%d:%s," % (len(request), request))
        reply = b""
        while True:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"no reply to {request[:100]!r}")
            reply += data
            length, colon, payload = reply.partition(b":")
            if colon and len(payload) > int(length):
                assert payload.endswith(b",") and len(payload) == int(length) + 1, reply[:100]
                return payload[:-1]
