"""Nix as the steps call it: in a shell that has one, with the flake's outputs over a nixpkgs of our choice."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

#: The project's folder.
HOME = Path(__file__).resolve().parents[2]
SHELL = HOME / "tests/nix/shell"
SYSTEM = f"{platform.machine()}-linux"


class Failed(Exception):
    """A command did not do what it should; the text is what it said."""


def run(*command: str, expect: bool = True) -> str:
    """What a command answers; where it is expected to fail, what it complains about."""
    done = subprocess.run(
        [str(SHELL), *command],
        cwd=HOME,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if (done.returncode == 0) != expect:
        raise Failed(f"{' '.join(command[:3])}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-6000:]}")
    return done.stdout if expect else done.stderr


class Flake:
    """The project as a flake, over some nixpkgs."""

    def __init__(self, source: Path, nixpkgs: Path, tool: Path | None) -> None:
        """`source` is a copy of the project; `tool` is the operator's, for a nixpkgs that cannot build it."""
        self.source = source
        self.nixpkgs = nixpkgs
        ours = f"""pkgs.runCommand "rustbalance-built-by-cargo" {{ meta.mainProgram = "rustbalance"; }} ''
                install -D ${{{tool}}} $out/bin/rustbalance
              ''"""
        self._bindings = f"""
            let
              nixpkgs = builtins.getFlake "path:{nixpkgs}";
              source = builtins.path {{ path = {source}; name = "source"; }};
              self = (import "${{source}}/flake.nix").outputs {{ inherit self nixpkgs; }} // {{ outPath = source; }};
              pkgs = nixpkgs.legacyPackages.{SYSTEM}.extend self.overlays.default;
              inherit (pkgs) lib;
              package = {ours if tool else "pkgs.rustbalance"};
            in
        """

    def expression(self, body: str) -> str:
        """A Nix expression in which `self`, `nixpkgs`, `pkgs`, `lib`, `package` and `source` are known."""
        return f"{self._bindings}{body}"

    def evaluate(self, body: str) -> object:
        """The value of an expression."""
        return json.loads(run("nix", "eval", "--impure", "--json", "--expr", self.expression(body)))

    def refused(self, command: str, body: str) -> str:
        """What nix says about an expression that it must not take."""
        extra = ("--no-link", "--print-build-logs") if command == "build" else ()
        return run("nix", command, "--impure", *extra, "--expr", self.expression(body), expect=False)

    def build(self, body: str) -> Path:
        """The first output of a derivation, built."""
        return Path(
            run("nix", "build", "--impure", "--no-link", "--print-out-paths", "--expr", self.expression(body)).split()[0]
        )

    @functools.cached_property
    def package(self) -> Path:
        """The tool as the module is given it."""
        return self.build("package")

    def command(self, *command: str, flake: str = "", override: str = "nixpkgs") -> str:
        """`nix SOMETHING` of the project, or of another flake, with this nixpkgs in place of the locked one."""
        chosen = ("--override-input", override, f"path:{self.nixpkgs}", "--no-write-lock-file")
        return run("nix", *command, flake or f"path:{self.source}", *chosen)


def find_nixpkgs() -> Path | str:
    """A folder with the pinned nixpkgs, fetched, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        # Nothing but the pin: nix copies a folder as a whole.
        for name in ("flake.nix", "flake.lock"):
            shutil.copy(HOME / name, folder)
        command = ("nix", "flake", "archive", "--json", "--option", "download-attempts", "1", f"path:{folder}")
        try:
            archive = json.loads(run("timeout", "300", *command))
        except Failed:
            return "the pinned nixpkgs cannot be fetched here; name a copy in RUSTBALANCE_NIXPKGS"
        return Path(archive["inputs"]["nixpkgs"]["path"])
