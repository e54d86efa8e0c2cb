"""The appliance's disk: what its definitions make of an empty one, and what its first start makes of that, by the real tool."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from nix import Flake

#: The tool, of this machine; Debian has it in `systemd` or in `systemd-repart`.
TOOL = "systemd-repart"
#: The machine's disk is larger than the image by this, in bytes.
ROOM = 1 << 30
#: What needs programs and files that are not there, and changes nothing of the partitions.
CONTENTS = {"Format", "MakeDirectories", "SplitName"}
#: Sectors of a GPT; its entries begin in the third, and have 128 bytes each.
SECTOR, ENTRY = 512, 128


@dataclass(frozen=True)
class Partition:
    """A partition as the disk has it."""

    label: str
    kind: uuid.UUID
    first: int
    last: int


def table(disk: Path) -> tuple[uuid.UUID, dict[str, Partition]]:
    """The disk's identifier, and its partitions by label."""
    data = disk.open("rb").read(34 * SECTOR)
    assert data[SECTOR : SECTOR + 8] == b"EFI PART", "no GPT"
    partitions = {}
    for start in range(2 * SECTOR, len(data), ENTRY):
        entry = data[start : start + ENTRY]
        if any(entry[:16]):
            label = entry[56:].decode("utf-16-le").rstrip("\0")
            first, last = (int.from_bytes(entry[at : at + 8], "little") for at in (32, 40))
            assert label not in partitions, f"two partitions {label}"
            partitions[label] = Partition(label, uuid.UUID(bytes_le=entry[:16]), first, last)
    return uuid.UUID(bytes_le=data[SECTOR + 56 : SECTOR + 72]), partitions


def repart(disk: Path, definitions: object, folder: Path, *options: str) -> None:
    """Has the tool make of a disk what definitions say, their contents aside."""
    assert isinstance(definitions, dict) and definitions
    folder.mkdir()
    for name, keys in definitions.items():
        lines = [f"{key}={value}" for key, value in keys.items() if key not in CONTENTS]
        (folder / f"{name}.conf").write_text("\n".join(["[Partition]", *lines, ""]))
    command = [TOOL, "--dry-run=no", f"--definitions={folder}", *options, str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def disk(flake: Flake) -> None:
    """The disk has the identifier by which it is found; the first start adds one partition and changes no other."""
    config = "self.nixosConfigurations.appliance.config"
    built = flake.evaluate(f"lib.mapAttrs (_: part: part.repartConfig) {config}.image.repart.partitions")
    added = flake.evaluate(f"{config}.systemd.repart.partitions")
    layout = flake.evaluate('import (source + "/nixos/disk-layout.nix")')
    seed = flake.evaluate(f"{config}.image.repart.seed")
    store = flake.evaluate(f'lib.removePrefix "/dev/disk/by-partlabel/" {config}.fileSystems."/nix/store".device')
    assert isinstance(layout, dict) and layout["seed"] == seed
    with tempfile.TemporaryDirectory() as place:
        image, folder = Path(place) / "disk.raw", Path(place)
        repart(image, built, folder / "build", "--empty=create", "--size=auto", f"--seed={seed}")
        identifier, before = table(image)
        assert str(identifier) == layout["disk"], identifier
        assert set(before) == {"esp", store, "_empty"}, before
        with image.open("ab") as file:
            file.truncate(image.stat().st_size + ROOM)
        for start in ("first", "second"):
            repart(image, added, folder / start)
            identifier, after = table(image)
            assert str(identifier) == layout["disk"], identifier
            assert {label: after[label] for label in before} == before, f"the {start} start changed the system's partitions"
            assert set(after) == {*before, "state"} and str(after["state"].kind) == layout["stateType"], after
