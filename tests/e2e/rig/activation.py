"""A daemon whose listening socket outlives it, as with a service manager's socket unit."""

import os
import socket

from .process import Daemon


class ActivatedDaemon(Daemon):
    """Holds the Unix socket PATH and hands it to every incarnation as LISTEN_FDS."""

    def __init__(self, name, argv, folder, path, env=None):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(1024)
        descriptor = self.listener.fileno()
        # LISTEN_PID must name the process that execs, which only a shell in between knows.
        wrapped = ["/bin/sh", "-c",
                   f'exec 3<&{descriptor}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', name, *argv]
        super().__init__(name, wrapped, folder, env)

    def start(self, seconds=30.0):
        self.listener.set_inheritable(True)
        return super().start(seconds)

    def close(self):
        self.kill()
        self.listener.close()
