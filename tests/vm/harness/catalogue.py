"""Which test wants which machines, and what is laid into them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

#: The project's folder.
HOME = Path(__file__).resolve().parents[3]
#: Where the scripts are that NixOS's tests use too.
SCRIPTS = HOME / "nixos/tests"
#: What they have in common, laid before each.
COMMON = SCRIPTS / "common.py"


@dataclass(frozen=True)
class Guest:
    """One machine as a test wants it."""

    memory_mib: int = 400
    #: The networks it has a card in, the one that `block` cuts first.
    vlans: tuple[int, ...] = (1,)
    #: What it runs before the script: what a NixOS module would have done.
    prepare: Callable[[], list[str]] = list


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


def release(folder: Path) -> None:
    """The programs as they are released, and the files that are installed with them, where a clone has them."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins"], cwd=HOME, check=True)
    programs = folder / "target/release"
    programs.mkdir(parents=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
    for program in (target / "release").glob("rustbalance*"):
        if program.suffix == "" and program.is_file():
            shutil.copy(program, programs)
            subprocess.run(["strip", "--strip-debug", str(programs / program.name)], check=True)
    shutil.copytree(HOME / "nixos/units", folder / "nixos/units")
    shutil.copytree(HOME / "tests/vm/target", folder / "tests/vm/target")


def installation() -> str:
    """What the README tells a Debian user to do on any machine, but for the building, which was done here."""
    return "cd /mnt" + _ours(_readme()[0], {"cargo build --release\n": ""})


def first_machine() -> str:
    """What it says to do then on the first one."""
    ours = {
        "--target http://YOUR-SERVICE.onion": "--target unix:/run/vm-target.sock",
        "--endpoint 192.0.2.1:51820": '--endpoint "$(getent hosts "$(hostname)" | cut -d " " -f 1):51820"',
    }
    return _ours(_readme()[1], ours)


def _readme() -> list[str]:
    """The commands in the chapters on Debian and on making a cluster."""
    _, _, chapters = (HOME / "README.md").read_text().partition("\n## Install on Debian\n")
    return [textwrap.dedent(block) for block in chapters.split("```")[1:4:2]]


def _ours(block: str, changes: Mapping[str, str]) -> str:
    """Commands with our words in the place of the README's examples."""
    for example, ours in changes.items():
        if example not in block:
            raise ValueError(f"the README's chapters on Debian and the first machine do not say {example!r}")
        block = block.replace(example, ours)
    return block


#: The target of the nodes under test.
TARGET = (
    "cp /mnt/tests/vm/target/* /etc/systemd/system/; systemctl daemon-reload; systemctl enable --now vm-target.socket"
)


def node() -> list[str]:
    """A first node with its target."""
    return [TARGET, installation(), first_machine()]


def empty_node() -> list[str]:
    """All of a node but what makes it one."""
    return [TARGET, installation(), "systemctl daemon-reload; systemctl enable rustbalance.target"]


def sealed_node() -> list[str]:
    """The same; its passphrase will be an encrypted one."""
    encrypted = "cd /mnt/nixos/units/optional; cp --parents */encrypted-passphrase.conf /etc/systemd/system"
    return [encrypted, *empty_node()]


def tor_network() -> list[str]:
    """The program that runs a private Tor network."""
    return ["install -m 755 /mnt/target/release/rustbalance-lab /usr/local/bin/"]


#: A node, and what will be one.
NODE = Guest(memory_mib=600, prepare=node)
EMPTY = Guest(memory_mib=600, prepare=empty_node)
#: A dozen tors of 75 MiB, and clients.
NETWORK = Guest(memory_mib=1500, prepare=tor_network)

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
    "single": Test(
        about="a node installed as the README says: boot, restarts, reloads, a wrong configuration",
        guests={"machine": NODE},
        limit_seconds=1800,
        script=SCRIPTS / "single.py",
        payload=release,
    ),
    "hardening": Test(
        about="the same node: what each process may do, as the kernel and systemd have it",
        guests={"machine": NODE},
        limit_seconds=1200,
        script=SCRIPTS / "hardening.py",
        payload=release,
    ),
    "watchdog": Test(
        about="the same node, whose daemons and tors are killed, frozen, stopped and starved",
        guests={"machine": NODE},
        limit_seconds=1800,
        script=SCRIPTS / "watchdog.py",
        payload=release,
    ),
    "reboot": Test(
        about="the same node, rebooted, and after its power was cut",
        guests={"machine": NODE},
        limit_seconds=1200,
        script=SCRIPTS / "reboot.py",
        payload=release,
    ),
    "sealed": Test(
        about="a node with sealed secrets and an encrypted passphrase; its disk is searched for them",
        guests={"machine": Guest(memory_mib=600, prepare=sealed_node)},
        limit_seconds=3000,
        script=SCRIPTS / "sealed.py",
        payload=release,
    ),
    "tor": Test(
        about="the same node on a private Tor network: requests come through Tor while each of its daemons is killed",
        guests={"network": NETWORK, "node": NODE},
        limit_seconds=5400,
        script=SCRIPTS / "tor.py",
        payload=release,
    ),
    "join": Test(
        about="a second node by invitation, on a private Tor network; then it serves alone",
        guests={"network": NETWORK, "alpha": NODE, "beta": EMPTY},
        limit_seconds=3600,
        script=SCRIPTS / "join.py",
        payload=release,
    ),
    "failover": Test(
        about="three nodes on a private Tor network, of which the lease holder crashes while clients fetch",
        guests={"network": NETWORK, "alpha": NODE, "beta": EMPTY, "gamma": EMPTY},
        limit_seconds=3600,
        script=SCRIPTS / "failover.py",
        payload=release,
    ),
    "clock": Test(
        about="two nodes on a private Tor network, of which one has a wrong clock, while clients fetch",
        guests={"network": NETWORK, "alpha": NODE, "beta": EMPTY},
        limit_seconds=5400,
        script=SCRIPTS / "clock.py",
        payload=release,
    ),
    "partition": Test(
        about="two nodes on a private Tor network, cut off from each other and joined, while clients fetch",
        # The tunnel goes through the first network, Tor through the second.
        guests={
            "network": replace(NETWORK, vlans=(2,)),
            "alpha": replace(NODE, vlans=(1, 2)),
            "beta": replace(EMPTY, vlans=(1, 2)),
        },
        limit_seconds=3600,
        script=SCRIPTS / "partition.py",
        payload=release,
    ),
}
