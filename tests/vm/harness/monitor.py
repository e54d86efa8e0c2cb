"""Orders to a running emulator, in QEMU's machine protocol: one JSON object a line."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from .errors import MachineError

#: An emulator that does not answer for so long has hung: orders take milliseconds.
ANSWER_SECONDS = 60


class Monitor:
    """A connection to an emulator's monitor."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(ANSWER_SECONDS)
        self._connection.connect(str(path))
        self._lines = self._connection.makefile("rb")
        self._lines.readline()  # the greeting
        self.order("qmp_capabilities")

    def order(self, command: str, /, **arguments: Any) -> Any:
        """Gives an order and returns what the emulator answers."""
        request = json.dumps({"execute": command, "arguments": arguments})
        self._connection.sendall(request.encode() + b"\n")
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise MachineError(f"the emulator refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise MachineError(f"the emulator ended while asked for {command}")

    def close(self) -> None:
        """Ends the connection, not the emulator."""
        self._lines.close()
        self._connection.close()
