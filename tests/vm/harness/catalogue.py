"""Which test wants which machines, and what is laid into them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The project's folder.
HOME = Path(__file__).resolve().parents[3]
#: Where the scripts are that NixOS's tests use too.
SCRIPTS = HOME / "nixos/tests"


@dataclass(frozen=True)
class Guest:
    """One machine as a test wants it."""

    memory_mib: int = 400
    #: The networks it has a card in, the one that `block` cuts first.
    vlans: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Test:
    """One test."""

    about: str
    guests: Mapping[str, Guest]
    #: A test that takes longer than this has failed; building what it needs does not count.
    limit_seconds: int
    script: Path
    #: Puts into a folder what the guests find under /mnt.
    payload: Callable[[Path], None] | None = None
    #: What each guest runs before the script: what a NixOS module would have done.
    prepare: list[str] = field(default_factory=list)


def mesh_tests(folder: Path) -> None:
    """The test program of the mesh, built here."""
    built = subprocess.run(
        ["cargo", "test", "--locked", "--test", "mesh", "--no-run", "--message-format", "json"],
        cwd=HOME,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    program = next(path for message in messages if "/mesh-" in (path := message.get("executable") or ""))
    shutil.copy(program, folder / "mesh-tests")
    subprocess.run(["strip", "--strip-debug", str(folder / "mesh-tests")], check=True)


TESTS: Mapping[str, Test] = {
    "smoke": Test(
        about="a machine boots with nothing failed, has the kernel's WireGuard, and tor",
        guests={"machine": Guest()},
        limit_seconds=300,
        script=SCRIPTS / "smoke.py",
    ),
    "pair": Test(
        about="two machines reach each other through the kernel's WireGuard, are cut off, crash and reboot",
        guests={"alpha": Guest(), "beta": Guest()},
        limit_seconds=900,
        script=SCRIPTS / "pair.py",
    ),
    "mesh": Test(
        about="the tests of the mesh (tests/mesh), on a kernel that has WireGuard",
        guests={"machine": Guest(memory_mib=600)},
        limit_seconds=900,
        script=HOME / "tests/vm/mesh.py",
        payload=mesh_tests,
    ),
}
