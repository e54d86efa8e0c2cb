"""The README's chapter on NixOS: its nodes are taken from the text, and evaluated as whole systems."""

from __future__ import annotations

import re
import shutil

from nix import HOME, Flake

#: An operator's two machines must take fewer lines than this.
MOST_LINES = 20


def blocks() -> list[str]:
    """The chapter's pieces of Nix, the flake of both machines first."""
    _, _, chapter = (HOME / "README.md").read_text().partition("\n## Install on NixOS\n")
    return re.findall(r"```nix\n(.*?)```", chapter.partition("\n## ")[0], flags=re.DOTALL)


def readme(flake: Flake) -> None:
    """Both machines come to a system, without a failing assertion."""
    text = blocks()[0]
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) < MOST_LINES, f"the README takes {len(lines)} lines"
    folder = flake.source.parent / "operator"
    folder.mkdir()
    (folder / "flake.nix").write_text(re.sub(r'"[^"]*/rustbalance"', f'"path:{flake.source}"', text))
    for name in ("alpha", "beta"):
        shutil.copytree(HOME / "tests/nix/generated", folder / name)
        system = f"path:{folder}#nixosConfigurations.{name}.config.system.build.toplevel.drvPath"
        path = flake.command("eval", "--raw", flake=system, override="rustbalance/nixpkgs")
        assert path.startswith("/nix/store/"), path
