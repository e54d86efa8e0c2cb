"""A TCP port in front of a unix socket, as `ssh -L` makes one: browsers open no unix sockets."""

from __future__ import annotations

import contextlib
import socket
import threading


class Forward:
    """Listens until it is closed; what it carries then is cut."""

    def __init__(self, path: str, port: int = 0) -> None:
        self.path = path
        self.open: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.path)
                self.open += [client, server]
                for way in ((client, server), (server, client)):
                    threading.Thread(target=carry, args=way, daemon=True).start()

    def close(self) -> None:
        """Cuts all, and listens no more."""
        for each in [self.listener, *self.open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def carry(source: socket.socket, target: socket.socket) -> None:
    """Carries bytes one way until there are no more, and says so."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
