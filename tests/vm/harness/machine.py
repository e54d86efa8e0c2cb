"""A machine's life: start, crash, reboot, cables pulled. What can be asked of it is in `calls`."""

from __future__ import annotations

import base64
import io
import re
import shlex
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .calls import PATIENCE_SECONDS, Calls, retry
from .emulator import Emulator
from .errors import MachineError, TestFailure
from .monitor import Monitor
from .shell import Shell

#: An emulated guest boots in a minute on a quiet computer; several at once on a busy one take several.
BOOT_SECONDS = 600
#: Services get 90 s to stop from systemd, and an emulated machine some more.
SHUTDOWN_SECONDS = 180
#: A killed or ordered emulator is gone at once.
END_SECONDS = 30
#: How long an emulator may take to open its sockets.
OPEN_SECONDS = 30
#: Length of the pieces in which a file goes through the shell: a command may have 128 KiB on Linux.
PIECE = 96 * 1024

Opened = TypeVar("Opened")


class Machine(Calls):
    """A guest, running or not."""

    def __init__(self, emulator: Emulator, write: Callable[[str], None]) -> None:
        self.name = emulator.name
        self._emulator = emulator
        self._write = write
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: Monitor | None = None
        self._shell: Shell | None = None
        self._ready = False
        self._allow_reboot = False
        #: How long the console's log was when the machine was last started.
        self._console_start = 0
        #: When it was last switched on or told to reboot.
        self._started = 0.0

    def log(self, message: str) -> None:
        """Writes a line about this machine."""
        self._write(f"{self.name}: {message}")

    def is_up(self) -> bool:
        """Whether the machine runs and its shell answers."""
        return self._process is not None and self._ready

    def start(self, allow_reboot: bool = False) -> None:
        """Switches the machine on and does not wait for it to boot. With `allow_reboot` a reboot does not end it."""
        if self._process is not None:
            return
        self.log("starting")
        if not self._emulator.disk.exists():
            self._emulator.make_disk()
        self._console_start = len(self._console())
        self._allow_reboot = allow_reboot
        self._started = time.monotonic()
        self._process = self._emulator.start(allow_reboot)
        self._monitor = self._open("monitor", Monitor)
        self._shell = self._open("shell", _connect)

    def _open(self, kind: str, opener: Callable[[Path], Opened]) -> Opened:
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                return opener(self._emulator.socket(kind))
            except OSError as error:
                self._must_run()
                if time.monotonic() > deadline:
                    raise MachineError(f"{self.name}: the emulator does not open its {kind}: {error}") from error
                time.sleep(0.05)

    def _must_run(self) -> None:
        if self._process is None or self._process.poll() is not None:
            said = (self._emulator.folder / "emulator.log").read_text(errors="replace")
            self._gone()
            raise MachineError(f"{self.name}: the emulator has ended: {said[-2000:]}")

    def connect(self) -> None:
        """Starts the machine if it does not run, and waits for it to boot."""
        self.start()
        if self._ready or self._shell is None:
            return
        self.log("waiting for it to boot")
        try:
            self._shell.wait_until_ready(BOOT_SECONDS)
        except MachineError as error:
            raise MachineError(f"{self.name}: {error}") from error
        self._ready = True
        self.log(f"its shell is there {time.monotonic() - self._started:.1f} s after its start")

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = PATIENCE_SECONDS,
    ) -> tuple[int, str]:
        """Runs a command under bash with `set -euo pipefail`: exit status and standard output.

        A command that goes on in the background must not keep standard output open. Without `check_return` the machine
        may end before it answers (status -1), without `check_output` nothing is waited for (status -2).
        """
        self.connect()
        assert self._shell is not None
        if not check_output:
            self._shell.send(f"bash -c {shlex.quote(command)} </dev/null >/dev/null")
            return -2, ""
        try:
            return self._shell.execute(command, timeout)
        except MachineError as error:
            if not check_return:
                return -1, ""
            raise MachineError(f"{self.name}: {command}: {error}") from error

    def wait_for_console_text(self, regex: str, timeout: int = PATIENCE_SECONDS) -> None:
        """Waits until the console has said something, since the machine was started."""
        with self.nested(f"waiting for {regex} on the console"):
            retry(lambda _last: re.search(regex, self.get_console_log()) is not None, timeout)

    def get_console_log(self) -> str:
        """What the console has said since the machine was started."""
        return self._console()[self._console_start :].decode(errors="replace").replace("\r", "")

    def _console(self) -> bytes:
        path = self._emulator.console
        return path.read_bytes() if path.exists() else b""

    def copy_from_host(self, source: str, target: str) -> None:
        """Copies a file or folder into the machine, owned by root. It goes through the shell: megabytes take long."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(source, "content", filter=_owned_by_root)
        text = base64.b64encode(packed.getvalue()).decode()
        with self.nested(f"copying {source} to {target}"):
            scratch = self.succeed("mktemp -d").strip()
            for start in range(0, len(text), PIECE):
                self._quietly(f"printf %s {text[start : start + PIECE]} >>{scratch}/packed")
            folder = shlex.quote(str(Path(target).parent))
            self._quietly(f"base64 -d {scratch}/packed | tar -xz -C {scratch} && mkdir -p {folder}")
            self._quietly(f"cp -r {scratch}/content {shlex.quote(target)} && rm -r {scratch}")

    def _quietly(self, command: str) -> None:
        if (status := self.execute(command)[0]) != 0:
            raise TestFailure(f"exit status {status}")

    def shutdown(self) -> None:
        """Has the machine switch itself off, and waits for it."""
        if self._process is None:
            return
        self.connect()
        assert self._shell is not None
        self._shell.send("poweroff")
        self.wait_for_shutdown()

    def wait_for_shutdown(self) -> None:
        """Waits until the machine is off; somebody must have told it to switch itself off."""
        if self._process is None:
            return
        with self.nested("waiting for it to switch itself off"):
            try:
                self._process.wait(SHUTDOWN_SECONDS)
            except subprocess.TimeoutExpired as error:
                self.kill()
                raise TestFailure(f"it still runs after {SHUTDOWN_SECONDS} s") from error
            self._gone()

    def crash(self) -> None:
        """Pulls the plug: what was not on the disk is lost."""
        if self._process is None:
            return
        self.log("crash")
        try:
            # By order, so that the emulator finishes its own files; the guest notices nothing.
            self.monitor.order("quit")
            self._process.wait(END_SECONDS)
        except (MachineError, OSError, subprocess.TimeoutExpired) as error:
            raise MachineError(f"{self.name}: cannot be crashed: {error}") from error
        finally:
            self.kill()

    def reboot(self) -> None:
        """Has the machine reboot, and does not wait for it; it must have been started with `allow_reboot`."""
        if not self._allow_reboot:
            raise MachineError(f"{self.name}: start it with allow_reboot=True")
        self.connect()
        assert self._shell is not None
        self.log("rebooting")
        # By the shell and not by Ctrl-Alt-Del: the keyboard's driver is one of the last things a guest loads.
        self._shell.send("systemctl reboot")
        self._ready = False
        self._started = time.monotonic()

    def block(self) -> None:
        """Pulls the cable of the machine's first network."""
        self._cable(False)

    def unblock(self) -> None:
        """Puts the cable of the machine's first network back."""
        self._cable(True)

    def _cable(self, up: bool) -> None:
        link = self._emulator.network.links(self.name)[0]
        self.log(f"network {link.vlan} {'joined again' if up else 'cut off'}")
        self.monitor.order("set_link", name=f"vlan{link.vlan}", up=up)

    @property
    def monitor(self) -> Monitor:
        """The running emulator's monitor."""
        if self._monitor is None:
            raise MachineError(f"{self.name}: does not run")
        return self._monitor

    def resident_mib(self) -> int:
        """How much memory the emulator takes now."""
        if self._process is None:
            return 0
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) // 1024 if found else 0

    def kill(self) -> None:
        """Ends the emulator whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(END_SECONDS)
        self._gone()

    def _gone(self) -> None:
        if self._shell is not None:
            self._shell.close()
        if self._monitor is not None:
            self._monitor.close()
        self._process = self._monitor = self._shell = None
        self._ready = False


def _connect(path: Path) -> Shell:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return Shell(connection)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
