"""The kernel, the emulator and the root image, made from Debian's packages and kept in a cache.

Two things are made. The *tools*: QEMU, the kernel and mke2fs of one release, unpacked and not installed, so that every
computer uses the same ones (they run by their own loader). The *root*: an ext4 image of a small Debian system of the
same release. Both lie in a folder whose name is a hash of everything they are made of but the packages' versions; those
stay as they were on the day of making, until `--fresh` makes them again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import Unavailable

#: The Debian release of everything: its QEMU needs half the memory and half the time of the release before.
SUITE = "trixie"
#: What is unpacked to run guests.
TOOLS = ("qemu-system-x86", "qemu-utils", "e2fsprogs", "libarchive13t64", "linux-image-cloud-amd64")
#: What is in a guest beyond Debian's essential packages.
GUEST = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "polkitd",
    "udev",
    "kmod",
    "tor",
    "wireguard-tools",
    "iproute2",
    "iputils-ping",
    "netcat-openbsd",
    "procps",
    "curl",
)
#: Size of a root image; unused blocks take no room.
ROOT_SIZE = "2G"
#: Free room that making both needs, in bytes.
ROOM = 4 << 30
#: Images that nobody has used for so long belonged to a version of the project that is gone.
UNUSED_SECONDS = 30 * 86400
#: A download from a slow mirror may take its time; one that takes longer hangs.
MAKING_SECONDS = 1800

_GUEST_FILES = Path(__file__).parent.parent / "guest"


@dataclass(frozen=True)
class Tools:
    """The unpacked programs, and the kernel."""

    root: Path

    def command(self, program: str) -> list[str]:
        """The words that start one of the programs with the libraries it came with."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        loader = self.root / "usr/lib64/ld-linux-x86-64.so.2"
        found = next(path for folder in ("usr/bin", "usr/sbin") if (path := self.root / folder / program).exists())
        return [str(loader), "--library-path", str(libraries), str(found)]

    def environment(self) -> dict[str, str]:
        """Tells QEMU where its modules are, as it cannot see that from where its loader lies."""
        return {**os.environ, "QEMU_MODULE_DIR": str(self.root / "usr/lib/x86_64-linux-gnu/qemu")}

    def firmware(self) -> list[str]:
        """QEMU's options that name its firmware."""
        return [word for name in ("qemu", "seabios") for word in ("-L", str(self.root / "usr/share" / name))]

    def kernel(self) -> Path:
        """The kernel's image."""
        return next((self.root / "boot").glob("vmlinuz-*"))

    def make_image(self, content: Path, image: Path, size: str) -> None:
        """Makes an ext4 image of a folder or of a tar archive."""
        image.unlink(missing_ok=True)
        # A small journal: guests crash on purpose, and must find their files afterwards.
        options = ["-q", "-F", "-t", "ext4", "-m", "0", "-J", "size=8", "-E", "root_owner=0:0", "-d", str(content)]
        _run([*self.command("mke2fs"), *options, str(image), size], self.environment())


@dataclass(frozen=True)
class Images:
    """Everything a machine is started from."""

    tools: Tools
    root: Path


def images(fresh: bool = False) -> Images:
    """The images, from the cache or made now."""
    if platform.machine() != "x86_64":
        raise Unavailable(f"the guests are made for x86_64, and this computer is {platform.machine()}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rustbalance" / "vm"
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / "lock"):
        _forget_unused(cache)
        tools_folder = cache / f"tools-{_hash([SUITE, *TOOLS])}"
        parts = [SUITE, *GUEST, tools_folder.name, Path(__file__).read_text()]
        root_folder = cache / f"root-{_hash([*parts, *_contents(_GUEST_FILES)])}"
        if fresh:
            shutil.rmtree(tools_folder, ignore_errors=True)
            shutil.rmtree(root_folder, ignore_errors=True)
        tools = Tools(tools_folder)
        if not tools_folder.exists():
            with _making("QEMU and the kernel", tools_folder) as unfinished:
                _unpack_tools(unfinished)
        if not root_folder.exists():
            with _making("the root image", root_folder) as unfinished:
                _make_root(tools, unfinished)
        for folder in (tools_folder, root_folder):
            os.utime(folder)
        return Images(tools, root_folder / "root.img")


def _unpack_tools(folder: Path) -> None:
    archive = folder / "tools.tar"
    _debootstrap("extract", TOOLS, archive, [], {})
    # Devices and owners are of no use here, and an ordinary user could not make them.
    _run(["tar", "-x", "-f", str(archive), "-C", str(folder), "--no-same-owner", "--exclude=./dev", "--exclude=./proc"])
    archive.unlink()


def _make_root(tools: Tools, folder: Path) -> None:
    archive = folder / "root.tar"
    hooks = [f"--customize-hook={_GUEST_FILES / 'setup'}"]
    _debootstrap("minbase", GUEST, archive, hooks, {"TOOLS": str(tools.root)})
    tools.make_image(archive, folder / "root.img", ROOT_SIZE)
    archive.unlink()


def _debootstrap(
    variant: str, packages: Sequence[str], archive: Path, hooks: Sequence[str], environment: dict[str, str]
) -> None:
    """Makes a tar archive of a Debian root with these packages."""
    sources = _sources()
    _check_room(archive.parent)
    command = [
        *([] if os.geteuid() == 0 else ["sudo", *(f"{name}={value}" for name, value in environment.items())]),
        "mmdebstrap",
        "--mode=root",
        "--quiet",
        "--format=tar",
        f"--variant={variant}",
        f"--include={','.join(packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Retries "3"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "i18n")),
        *hooks,
        SUITE,
        "-",
        *sources,
    ]
    with archive.open("wb") as output:
        _run(command, {**os.environ, **environment}, output)


def _sources() -> list[str]:
    """Lines of a sources.list for the guests' release, from where this computer gets its own packages."""
    if shutil.which("apt-get") is None:
        raise Unavailable("the guests are made of Debian's packages, and this is not a Debian system")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    archives = [uri.rstrip("/") for uri in listed]
    main = next((uri for uri in archives if uri.endswith("/debian")), None)
    security = next((uri for uri in archives if uri.endswith("/debian-security")), None)
    if main is None or security is None:
        raise Unavailable("this computer's package sources name no archive of Debian and its security updates")
    with tempfile.TemporaryDirectory() as folder:
        helper = ["/usr/lib/apt/apt-helper", "download-file", f"{main}/dists/{SUITE}/InRelease", f"{folder}/InRelease"]
        answer = subprocess.run(helper, capture_output=True, text=True, check=False, timeout=MAKING_SECONDS)
        if answer.returncode != 0:
            said = " ".join((answer.stdout + answer.stderr).split())
            raise Unavailable(f"Debian's packages cannot be had: {said}")
    return [
        f"deb {main} {SUITE} main",
        f"deb {main} {SUITE}-updates main",
        f"deb {security} {SUITE}-security main",
    ]


def _check_room(folder: Path) -> None:
    if (free := shutil.disk_usage(folder).free) < ROOM:
        raise Unavailable(f"{folder} has {free >> 20} MiB free, and the images need {ROOM >> 20}")


def _run(command: Sequence[str], environment: dict[str, str] | None = None, output: IO[bytes] | None = None) -> None:
    """Runs a command; what it says is shown only if it fails."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=MAKING_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = ((done.stdout or b"") + (done.stderr or b"")).decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)}\nexits with {done.returncode}:\n{said}")


@contextmanager
def _making(what: str, folder: Path) -> Iterator[Path]:
    """A folder to make something in, which gets its name only when it is complete."""
    print(f"making {what} in {folder}", flush=True)
    start = time.monotonic()
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    print(f"made {what} in {time.monotonic() - start:.0f} s", flush=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other run on this computer makes images."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_unused(cache: Path) -> None:
    for folder in cache.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _contents(folder: Path) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{path.relative_to(folder)} {path.stat().st_mode:o}\n{path.read_text()}" for path in files]


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
