"""One emulator's command line and process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .images import Images
from .network import Network

#: QEMU keeps translated code in a buffer of this size, in MiB; by default it takes a gigabyte, and a guest fills it.
TRANSLATED_MIB = 128
#: What every guest's kernel is told: where its root and console are, to end with a panic instead of waiting, to leave out what
#: costs an emulated processor time and protects nobody here, and to wait for its devices as long as the harness does for it:
#: four guests on a busy computer take longer than the minute and a half after which systemd gives its console up.
KERNEL_WORDS = (
    "root=/dev/nvme0n1 rw console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off fsck.mode=skip "
    "systemd.show_status=no systemd.default_device_timeout_sec=900"
)


@dataclass(frozen=True)
class Emulator:
    """What one machine is, whether it runs or not."""

    name: str
    memory_mib: int
    network: Network
    images: Images
    #: An image that the guest finds as its second disk, for reading.
    payload: Path | None
    #: Where the machine's disk and what it said are kept.
    folder: Path
    #: Where its sockets are: their paths may not be long.
    sockets: Path

    @property
    def disk(self) -> Path:
        """What the machine has written, over the root image that all share."""
        return self.folder / "disk.qcow2"

    @property
    def console(self) -> Path:
        """What came out of the serial console in all its runs."""
        return self.folder / "console.log"

    @property
    def journal(self) -> Path:
        """What its journal got in all its runs, as far as it was handed on."""
        return self.folder / "journal.log"

    def socket(self, kind: str) -> Path:
        """The path of one of its sockets."""
        return self.sockets / f"{self.name}.{kind}"

    def make_disk(self) -> None:
        """A new disk over the root image."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in (self.disk, self.console, self.journal):
            path.unlink(missing_ok=True)
        words = ["create", "-q", "-f", "qcow2", "-b", str(self.images.root), "-F", "raw", str(self.disk)]
        tools = self.images.tools
        subprocess.run([*tools.command("qemu-img"), *words], env=tools.environment(), check=True)

    def start(self, allow_reboot: bool) -> subprocess.Popen[bytes]:
        """Starts the emulator; it ends with this process at the latest."""
        for kind in ("shell", "monitor"):
            self.socket(kind).unlink(missing_ok=True)
        with (self.folder / "emulator.log").open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(allow_reboot)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.images.tools.environment(),
            )

    def _command(self, allow_reboot: bool) -> list[str]:
        # Not KVM wherever its device is: there are computers that have it and where it breaks off.
        accelerator = os.environ.get("QEMU_ACCEL", f"tcg,tb-size={TRANSLATED_MIB}")
        words = [
            *self.images.tools.command("qemu-system-x86_64"),
            *self.images.tools.firmware(),
            *("-machine", "q35", "-accel", accelerator, "-cpu", "max", "-smp", "1", "-m", str(self.memory_mib)),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(self.images.tools.kernel()), "-append", self._kernel_words()),
            # Debian's cloud kernel has NVMe built in: no initial RAM disk is needed to find the root. The other disk is of
            # another kind, since a kernel names two of one kind in the order in which they happen to answer.
            *_disk("root", "nvme,serial=root", f"file={self.disk},format=qcow2,cache=unsafe"),
            *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=shell,path={self.socket('shell')},server=on,wait=off"),
            *("-device", "virtconsole,chardev=shell"),
            *("-chardev", f"file,id=journal,path={self.journal},append=on", "-device", "virtconsole,chardev=journal"),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{self.socket('monitor')},server=on,wait=off"),
        ]
        if self.payload is not None:
            words += _disk("payload", "virtio-blk-pci", f"file={self.payload},format=raw,readonly=on")
        for link in self.network.links(self.name):
            carrier = f"mcast={self.network.group}:{self.network.port + link.vlan},localaddr=127.0.0.1"
            card = f"virtio-net-pci,netdev=vlan{link.vlan},mac={link.hardware}"
            words += ["-netdev", f"socket,id=vlan{link.vlan},{carrier}", "-device", card]
        return words if allow_reboot else [*words, "-no-reboot"]

    def _kernel_words(self) -> str:
        links = _pairs((link.hardware, link.address) for link in self.network.links(self.name))
        hosts = _pairs(self.network.hosts())
        return f"{KERNEL_WORDS} systemd.hostname={self.name} vm.links={links} vm.hosts={hosts}"


def _disk(name: str, device: str, drive: str) -> Sequence[str]:
    return ("-drive", f"{drive},if=none,id={name}", "-device", f"{device},drive={name}")


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{left}/{right}" for left, right in pairs)
