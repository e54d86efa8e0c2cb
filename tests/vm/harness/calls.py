"""What a script may ask of a machine, as far as a shell can answer: the calls of the NixOS test driver."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import TestFailure

#: How long one waits for something, if the script does not say.
PATIENCE_SECONDS = 900
#: Pause between two tries.
PAUSE_SECONDS = 1.0


def retry(condition: Callable[[bool], bool], timeout_seconds: int = PATIENCE_SECONDS) -> None:
    """Asks again and again until the condition holds; it is told `True` when it is asked for the last time."""
    start = time.monotonic()
    while time.monotonic() - start < timeout_seconds:
        if condition(False):
            return
        time.sleep(PAUSE_SECONDS)
    if not condition(True):
        raise TestFailure(f"not within {timeout_seconds} s")


class Calls(ABC):
    """The calls that need nothing but a shell."""

    name: str

    @abstractmethod
    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = PATIENCE_SECONDS,
    ) -> tuple[int, str]:
        """Runs a command under bash with `set -euo pipefail`: exit status and standard output."""

    @abstractmethod
    def log(self, message: str) -> None:
        """Writes a line about this machine."""

    @contextmanager
    def nested(self, message: str) -> Iterator[None]:
        """Says what is done, how long it took if that is worth a line, and puts it in front of what goes wrong."""
        self.log(message)
        start = time.monotonic()
        try:
            yield
        except TestFailure as failure:
            raise TestFailure(f"{self.name}: {message}: {failure}") from failure
        if (seconds := time.monotonic() - start) >= PAUSE_SECONDS:
            self.log(f"({message}: {seconds:.1f} s)")

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands of which each must exit with 0; their output, joined."""
        output = ""
        for command in commands:
            with self.nested(f"must succeed: {command}"):
                status, out = self.execute(command, timeout=timeout)
                if status != 0:
                    raise TestFailure(f"exit status {status}, output: {out}")
                output += out
        return output

    def fail(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands of which none may exit with 0; their output, joined."""
        output = ""
        for command in commands:
            with self.nested(f"must fail: {command}"):
                status, out = self.execute(command, timeout=timeout)
                if status == 0:
                    raise TestFailure(f"it succeeded, output: {out}")
                output += out
        return output

    def wait_until_succeeds(self, command: str, timeout: int = PATIENCE_SECONDS) -> str:
        """Runs a command every second until it exits with 0; its last output."""
        return self._wait_until(command, lambda status: status == 0, f"waiting for success: {command}", timeout)

    def wait_until_fails(self, command: str, timeout: int = PATIENCE_SECONDS) -> str:
        """Runs a command every second until it does not exit with 0; its last output."""
        return self._wait_until(command, lambda status: status != 0, f"waiting for failure: {command}", timeout)

    def _wait_until(self, command: str, wanted: Callable[[int], bool], message: str, timeout: int) -> str:
        output = ""

        def check(last: bool) -> bool:
            nonlocal output
            status, output = self.execute(command, timeout=timeout)
            if last and not wanted(status):
                self.log(f"last output: {output}")
            return wanted(status)

        with self.nested(message):
            retry(check, timeout)
        return output

    def _wait_for(self, what: str, command: str, wanted: bool, timeout: int) -> None:
        with self.nested(f"waiting for {what}"):
            retry(lambda _last: (self.execute(command)[0] == 0) == wanted, timeout)

    def wait_for_file(self, filename: str, timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until a file is there."""
        self._wait_for(f"the file {filename}", f"test -e {filename}", True, timeout)

    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until somebody listens on a TCP port."""
        self._wait_for(f"TCP port {port} on {addr}", f"nc -z {addr} {port}", True, timeout)

    def wait_for_closed_port(self, port: int, addr: str = "localhost", timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until nobody listens on a TCP port."""
        self._wait_for(f"TCP port {port} on {addr} to close", f"nc -z {addr} {port}", False, timeout)

    def wait_for_open_unix_socket(self, addr: str, is_datagram: bool = False, timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until somebody listens on a unix socket."""
        kind = "-uU" if is_datagram else "-U"
        self._wait_for(f"the unix socket {addr}", f"nc -z {kind} {addr}", True, timeout)

    def sleep(self, secs: int) -> None:
        """Lets the guest sleep: its seconds count, not this computer's."""
        self.succeed(f"sleep {secs}")

    def systemctl(self, q: str) -> tuple[int, str]:
        """Exit status and output of `systemctl`."""
        return self.execute(f"systemctl {q}")

    def start_job(self, jobname: str) -> tuple[int, str]:
        """Starts a unit."""
        return self.systemctl(f"start {jobname}")

    def stop_job(self, jobname: str) -> tuple[int, str]:
        """Stops a unit."""
        return self.systemctl(f"stop {jobname}")

    def get_unit_info(self, unit: str) -> dict[str, str]:
        """All properties of a unit, as `systemctl show` tells them."""
        status, lines = self.systemctl(f"--no-pager show {shlex.quote(unit)}")
        if status != 0:
            raise TestFailure(f"{self.name}: systemctl show {unit} exits with {status}")
        return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)

    def get_unit_property(self, unit: str, property: str) -> str:
        """One property of a unit."""
        status, value = self.systemctl(f"--no-pager show {shlex.quote(unit)} --property={property}")
        if status != 0 or "=" not in value:
            raise TestFailure(f"{self.name}: {unit} has no property {property}")
        return value.strip().split("=", 1)[1]

    def require_unit_state(self, unit: str, require_state: str = "active") -> None:
        """Insists on the state a unit is in now."""
        with self.nested(f"{unit} must be {require_state}"):
            state = self.get_unit_property(unit, "ActiveState")
            if state != require_state:
                raise TestFailure(f"it is {state}")

    def wait_for_unit(self, unit: str, timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until a unit is active; fails at once if it has failed, or is inactive with nothing left to do."""

        def is_active(_last: bool) -> bool:
            state = self.get_unit_property(unit, "ActiveState")
            if state == "inactive":
                idle = "No jobs" in self.systemctl("list-jobs --full 2>&1")[1]
                # It may have become active between the two questions.
                if idle and self.get_unit_property(unit, "ActiveState") == "inactive":
                    raise TestFailure("it is inactive and there are no pending jobs")
            if state == "failed":
                raise TestFailure("it has failed:\n" + self.systemctl(f"--no-pager status {unit} 2>&1")[1])
            return state == "active"

        with self.nested(f"waiting for unit {unit}"):
            retry(is_active, timeout)
