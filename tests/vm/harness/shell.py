"""Commands and their results over a guest's console.

In the guest a root shell reads from a virtio console (`tests/vm/guest/files`). Each command is one line; its output
comes back as one line of base64, then its exit status.
"""

from __future__ import annotations

import base64
import shlex
import socket

from .errors import MachineError

#: How much longer than a command's own limit is waited for its answer: a guest on a busy computer answers late.
GRACE_SECONDS = 120
#: What the guest's shell says when it is there.
READY = b"guest shell is ready"


class Shell:
    """A connection to a guest's shell."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection: socket.socket | None = connection
        self._received = b""

    def wait_until_ready(self, limit_seconds: float) -> None:
        """Waits for the guest to boot and say so."""
        while READY not in self._line(limit_seconds):
            pass

    def execute(self, command: str, timeout: int | None) -> tuple[int, str]:
        """Exit status (124 if it was ended after `timeout` seconds) and standard output of a bash command."""
        limit = "" if timeout is None else f"timeout {timeout} "
        script = shlex.quote(f"set -euo pipefail; {command}")
        self.send(f'{limit}bash -c {script} </dev/null | base64 -w 0; echo " ${{PIPESTATUS[0]}}"')
        patience = None if timeout is None else timeout + GRACE_SECONDS
        output, _, status = self._line(patience).decode().rpartition(" ")
        return int(status), base64.b64decode(output).decode(errors="replace")

    def send(self, line: str) -> None:
        """Sends a line and does not wait for an answer."""
        try:
            self._open().sendall(line.encode() + b"\n")
        except OSError as error:
            self.close()
            raise MachineError(f"the guest's shell takes no commands: {error}") from error

    def close(self) -> None:
        """Ends the connection; what is asked afterwards is refused."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> socket.socket:
        if self._connection is None:
            raise MachineError("the guest's shell is gone")
        return self._connection

    def _line(self, limit_seconds: float | None) -> bytes:
        connection = self._open()
        connection.settimeout(limit_seconds)
        while b"\n" not in self._received:
            try:
                chunk = connection.recv(65536)
            except TimeoutError as error:
                # An answer that comes later would be taken for the next command's.
                self.close()
                raise MachineError(f"the guest's shell did not answer within {limit_seconds} s") from error
            except OSError as error:
                self.close()
                raise MachineError(f"the guest's shell broke off: {error}") from error
            if not chunk:
                self.close()
                raise MachineError("the guest's shell ended")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line
