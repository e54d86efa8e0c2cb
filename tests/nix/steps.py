"""The steps of tests/nix/run, in order. Each is a function that raises where something is not as it should be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from boot import boot, debian_root, missing
from disk import TOOL, disk
from first_start import first_start
from mistakes import mistakes
from nix import HOME, Failed, Flake, find_nixpkgs, run
from readme import readme

failed: list[str] = []


def step(name: str, do: Callable[[], object]) -> None:
    """Does it, and tells how it went."""
    since = time.monotonic()
    try:
        do()
    except (Failed, AssertionError, subprocess.CalledProcessError) as error:
        failed.append(name)
        print(f"{name}: FAILED\n{error}", flush=True)
    else:
        print(f"{name}: {time.monotonic() - since:.0f} s", flush=True)


def skip(name: str, reason: str) -> None:
    """Tells that something is not done, and why."""
    print(f"{name}: skipped, {reason}", flush=True)


def listed(*patterns: str) -> list[str]:
    """The project's files, those that are new among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    return subprocess.run(command, cwd=HOME, check=True, capture_output=True, text=True).stdout.splitlines()


def parse() -> None:
    """Nix itself reads every file."""
    run("nix-instantiate", "--parse", *listed("*.nix"))


def lock() -> None:
    """The lock file belongs to the flake's inputs, and pins each by revision and hash."""
    node = json.loads((HOME / "flake.lock").read_text())["nodes"]["nixpkgs"]
    asked = re.search(r'nixpkgs\.url = "github:([^/"]*)/([^/"]*)/([^"]*)"', (HOME / "flake.nix").read_text())
    original, locked = node["original"], node["locked"]
    assert asked and asked.groups() == (original["owner"], original["repo"], original["ref"]), original
    assert re.fullmatch("[0-9a-f]{40}", locked["rev"]) and locked["narHash"].startswith("sha256-"), locked


#: What cargo calls those programs that the distribution does not have.
CRATES = {"nixfmt": "nixfmt_rs", "deadnix": "deadnix"}


def lint(name: str, *arguments: str) -> None:
    """Runs a program over the files, where this machine has it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{HOME}/target/tools/bin")
    if found is None:
        crate = CRATES.get(name)
        skip(name, f"there is no {name} here" + (f": cargo install --root target/tools {crate}" if crate else ""))
        return

    def check() -> None:
        done = subprocess.run([found, *arguments], cwd=HOME, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    step(name, check)


#: The programs of a node.
PROGRAMS = ["rustbalance", *(f"rustbalance-{daemon}" for daemon in ("proxy", "coordinator", "publisher", "watchdog"))]


def tool() -> Path:
    """The operator's tool, which the module calls at build time, and the daemons beside it."""
    bins = [word for program in PROGRAMS for word in ("--bin", program)]
    subprocess.run(["cargo", "build", "--quiet", "--locked", *bins], cwd=HOME, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target")).resolve() / "debug/rustbalance"


def copy(folder: Path) -> Path:
    """The project without what builds left: nix takes a folder as a whole."""
    source = folder / "rustbalance"
    for name in listed():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOME / name, source / name)
    return source


def show(flake: Flake) -> None:
    """Prints what the flake has."""
    print(re.sub("\x1b\\[[0-9;]*m", "", flake.command("flake", "show")), end="")


def exposure(flake: Flake) -> None:
    """Prints the score of each service of the first example."""
    system = """(nixpkgs.lib.nixosSystem { modules = [
        self.nixosModules.default (source + "/nixos/examples/first-node.nix")
        { networking.hostName = "alpha"; services.rustbalance = { inherit package; }; }
    ]; }).config"""
    units = f'{system}.environment.etc."systemd/system".source'
    built = flake.build(f'pkgs.callPackage (source + "/tests/nix/exposure.nix") {{ units = {units}; }}')
    print(run("cat", str(built)), end="")


def booted(flake: Flake, built: Path | None, folder: Path) -> None:
    """Boots a whole system over the distribution's programs, where that can be done here."""
    name = "a node's system, booted in a container"
    root = debian_root()
    # Real packages need a machine of their own, which `nix flake check` gives them.
    reason = "the tests in machines do it with real packages" if built is None else missing(root)
    if built is None or reason:
        skip(name, str(reason))
        return
    programs = folder / "programs"
    programs.mkdir()
    for program in PROGRAMS:
        shutil.copy(built.parent / program, programs)
        subprocess.run(["strip", "--strip-debug", str(programs / program)], check=True)
    step(name, lambda: boot(flake, programs, root))


def with_nixpkgs(nixpkgs: Path, built: Path | None) -> None:
    """All that needs one."""
    with tempfile.TemporaryDirectory() as folder:
        flake = Flake(copy(Path(folder)), nixpkgs, built)
        step("nix flake show", lambda: show(flake))
        step("nix flake check --no-build", lambda: flake.command("flake", "check", "--no-build"))
        step("the README's nodes", lambda: readme(flake))
        tests = "pkgs.callPackage (source + \"/tests/nix/module.nix\") { inherit self nixpkgs package; }"
        step("the module in whole systems, units compared", lambda: flake.build(tests))
        step("what systemd thinks of the services", lambda: exposure(flake))
        step("first starts: a new cluster, an invitation, a volume", lambda: first_start(flake))
        if shutil.which(TOOL):
            step("the image's disk, and its first start", lambda: disk(flake))
        else:
            skip("the image's disk, and its first start", f"there is no {TOOL} here")
        step("mistakes, and what is said of them", lambda: mistakes(flake))
        booted(flake, built, Path(folder))


def files() -> None:
    """What needs no nixpkgs."""
    step("every Nix file is one", parse)
    step("the lock file is that of the flake", lock)
    lint("nixfmt", "--check", *listed("*.nix"))
    lint("deadnix", "--fail", *listed("*.nix"))
    lint("statix", "check", "--ignore", "target", "--", ".")


def evaluation() -> str | None:
    """What needs one; or why there is none."""
    if given := os.environ.get("RUSTBALANCE_NIXPKGS"):
        with_nixpkgs(Path(given).resolve(), tool())
    elif isinstance(fetched := find_nixpkgs(), Path):
        with_nixpkgs(fetched, None)
    else:
        return fetched
    return None


def main(what: str) -> int:
    """The steps that are asked for."""
    try:
        print(run("nix", "--version").strip(), flush=True)
    except Failed as error:
        print(str(error).strip().splitlines()[-1])
        return 69
    if what in ("files", "all"):
        files()
    missing = evaluation() if what in ("evaluation", "all") else None
    if missing is not None:
        skip("flake, module, README, first starts and mistakes", missing)
    return 1 if failed else 69 if missing is not None else 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["all"])))
