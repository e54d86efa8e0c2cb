"""The table of mistakes: each is made, and what an operator then reads is printed and looked at."""

from __future__ import annotations

from nix import Flake

TABLE = '(import (source + "/tests/nix/table.nix") { inherit lib pkgs package; })'


def mistakes(flake: Flake) -> None:
    """Makes all of mistakes.nix."""
    says = flake.evaluate(f"{TABLE}.says")
    assert isinstance(says, dict)
    heard = dict(flake.evaluate(f"{TABLE}.asserted").items())
    for name in says["typed"]:
        heard[name] = flake.refused("eval", f'{TABLE}.typed."{name}"')
    for name in says["parsed"]:
        heard[name] = flake.refused("build", f'{TABLE}.parsed."{name}"')
    for kind in says.values():
        for name, expected in kind.items():
            message = " ".join(heard[name].split())
            at = message.find(expected)
            assert at >= 0, f"{name}: expected {expected!r}, heard {message}"
            # Around what nix itself adds there is more than a line can show.
            print(f"  {name}: {message if len(message) < 400 else '… ' + message[max(0, at - 60) : at + 200]}")
