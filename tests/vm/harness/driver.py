"""Runs one script against its machines, and tells what they said when it fails."""

from __future__ import annotations

import json
import re
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from .calls import retry
from .catalogue import COMMON, HOME, Test
from .emulator import Emulator
from .errors import MachineError, OutOfTime, TestFailure
from .images import Images
from .machine import Machine
from .network import Network

#: How many lines of each machine's console and journal are shown after a failure; the whole is in target/vm.
SHOWN_LINES = 120
#: Size of the disk with a test's own files; unused blocks take no room.
PAYLOAD_SIZE = "1G"
#: Where a guest finds them, from now on.
MOUNT = "echo '/dev/vda /mnt ext4 ro,nofail 0 0' >>/etc/fstab; systemctl daemon-reload; mount /mnt"
#: What a script has measured, in its test's folder; `rustbalance-lab --matrix` reads it.
MEASURES = "measures.json"


class Driver:
    """The names a script sees, and the machines behind them."""

    def __init__(self, name: str, test: Test, images: Images, sockets: Path) -> None:
        self._test = test
        self.folder = HOME / "target/vm" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        payload = self._payload(images)
        self._start = time.monotonic()
        network = Network.of({guest: want.vlans for guest, want in test.guests.items()})
        self.machines = [
            Machine(
                Emulator(guest, want.memory_mib, network, images, payload, self.folder / guest, sockets), self.write
            )
            for guest, want in test.guests.items()
        ]

    def write(self, line: str) -> None:
        """Writes a line with the seconds since the test began."""
        print(f"[{time.monotonic() - self._start:7.1f}] {line}", flush=True)

    def _payload(self, images: Images) -> Path | None:
        if self._test.payload is None:
            return None
        with tempfile.TemporaryDirectory(dir=self.folder) as content:
            self._test.payload(Path(content))
            Path(content).chmod(0o755)
            images.tools.make_image(Path(content), self.folder / "payload.img", PAYLOAD_SIZE)
        return self.folder / "payload.img"

    def start_all(self) -> None:
        """Starts all machines, and waits for none."""
        for machine in self.machines:
            machine.start()

    def join_all(self) -> None:
        """Waits until all machines have switched themselves off."""
        for machine in self.machines:
            machine.wait_for_shutdown()

    @contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """Groups what is done under a name, and times it."""
        self.write(f"subtest: {name}")
        start = time.monotonic()
        try:
            yield
        except Exception:
            self.write(f"subtest FAILED after {time.monotonic() - start:.1f} s: {name}")
            raise
        self.write(f"subtest passed in {time.monotonic() - start:.1f} s: {name}")

    def symbols(self) -> dict[str, Any]:
        """What a script sees."""
        shown: dict[str, Any] = {re.sub(r"\W", "_", machine.name): machine for machine in self.machines}
        if len(self.machines) == 1:
            shown["machine"] = self.machines[0]
        names = ("machines", "start_all", "join_all", "subtest")
        return shown | {name: getattr(self, name) for name in names} | {"driver": self, "retry": retry}

    def run(self) -> None:
        """Prepares the machines, then runs the script."""
        prepared = {guest: want.prepare() for guest, want in self._test.guests.items()}
        if self._test.payload or any(prepared.values()):
            self.start_all()
        for machine in self.machines:
            if self._test.payload:
                machine.succeed(MOUNT)
            if prepared[machine.name]:
                machine.succeed(*prepared[machine.name])
                # The script starts it, in its own way; what was prepared has to be there after a boot from cold.
                machine.shutdown()
        symbols = self.symbols()
        for script in (COMMON, self._test.script):
            exec(compile(script.read_text(), str(script), "exec"), symbols)  # noqa: S102
        # Only now: a test that has failed has measured nothing.
        (self.folder / MEASURES).write_text(json.dumps(symbols["MEASURES"], indent=2) + "\n")
        for machine in self.machines:
            if machine.is_up():
                machine.log(f"its emulator takes {machine.resident_mib()} MiB")

    def show_logs(self) -> None:
        """Shows the end of what every machine said."""
        for machine in self.machines:
            for kind in ("console", "journal", "emulator"):
                path = self.folder / machine.name / f"{kind}.log"
                lines = path.read_text(errors="replace").splitlines() if path.exists() else []
                print(f"--- {machine.name}: the last of {len(lines)} lines of {path}")
                print("\n".join(lines[-SHOWN_LINES:]), flush=True)

    def end(self, keep_disks: bool) -> None:
        """Ends all machines."""
        for machine in self.machines:
            machine.kill()
        if not keep_disks:
            for disk in [*self.folder.glob("*/disk.qcow2"), *self.folder.glob("payload.img")]:
                disk.unlink()


def run(name: str, test: Test, images: Images, keep_disks: bool) -> bool:
    """Runs a test; whether it passed. Everything about it is printed."""
    with tempfile.TemporaryDirectory(prefix="rb-vm-") as sockets:
        driver = Driver(name, test, images, Path(sockets))
        try:
            with _limit(test.limit_seconds):
                driver.run()
            return True
        except Exception as failure:
            _show_failure(failure, test, driver.write)
            driver.show_logs()
            return False
        finally:
            driver.end(keep_disks)


def _show_failure(failure: Exception, test: Test, write: Callable[[str], None]) -> None:
    if not isinstance(failure, (TestFailure, MachineError, OutOfTime, AssertionError)):
        # Nothing that a machine did: the script or the harness is wrong.
        traceback.print_exception(failure)
    for frame in traceback.extract_tb(failure.__traceback__):
        if frame.filename in (str(COMMON), str(test.script)):
            write(f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}")
    write(f"FAILED: {type(failure).__name__}: {failure}")


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Breaks off what takes longer."""

    def out_of_time(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime(f"the test took longer than its {seconds} s")

    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
