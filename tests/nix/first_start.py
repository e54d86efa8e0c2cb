"""What a node's first start does, and later ones do, to its files: the module's own script, run with the real tool."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nix import Failed, Flake, run

#: Programs of systemd that the script calls; here they do nothing, for the volume is a folder and files are ours.
STUBS = ("systemctl", "systemd-tmpfiles", "systemd-escape")


class Node:
    """A folder in which a node comes to be, as on a machine of its own."""

    def __init__(self, flake: Flake, folder: Path, options: str) -> None:
        self._flake = flake
        self._folder = folder
        self.etc, self.volume, self._programs = folder / "etc", folder / "volume", folder / "bin"
        for made in (self.etc, self.volume, self._programs, folder / "units"):
            made.mkdir(parents=True)
        for name in STUBS:
            (self._programs / name).write_text("#!/bin/sh\n")
            (self._programs / name).chmod(0o755)
        self.options = options
        # Evaluating a whole system takes seconds.
        self._scripts: dict[str, str] = {}

    def script(self) -> str:
        """What the service runs at every start, with this folder in place of the machine's."""
        config = f"""(nixpkgs.lib.nixosSystem {{ modules = [
            self.nixosModules.default (source + "/nixos/examples/machine.nix")
            {{ networking.hostName = "alpha"; services.rustbalance = {{ inherit package; enable = true; }}; }}
            {{ services.rustbalance = {{ {self.options} }}; }}
        ]; }}).config"""
        self._flake.build(f"{config}.services.rustbalance.settingsFile")
        script = self._flake.evaluate(f"{config}.systemd.services.configure-rustbalance.script")
        assert isinstance(script, str)
        for there, here in (
            ("/etc/rustbalance", self.etc),
            ("/run/rustbalance-volumes/first", self.volume),
            ("/run/systemd/system", self._folder / "units"),
        ):
            script = script.replace(there, str(here))
        return script

    def start(self) -> None:
        """Starts the node, as often as one likes."""
        if self.options not in self._scripts:
            self._scripts[self.options] = self.script()
        path = f"PATH={self._flake.package}/bin:{self._programs}:/usr/bin:/bin"
        run("env", path, "bash", "-ec", self._scripts[self.options])

    def tool(self, *arguments: str) -> str:
        """The operator's tool, as on this node."""
        return run(f"{self._flake.package}/bin/rustbalance", *arguments)

    @property
    def config(self) -> str:
        """What the daemons would read."""
        return (self.etc / "config.toml").read_text()

    def target_sandbox(self) -> str:
        """The drop-in that the start made for the proxy, if it made one."""
        made = self._folder / "units/rustbalance-proxy.service.d/tcp-target.conf"
        return made.read_text() if made.exists() else ""


def refused(node: Node, reason: str) -> None:
    """A start fails, for this reason."""
    try:
        node.start()
    except Failed as error:
        assert reason in str(error), error
    else:
        raise AssertionError(f"not refused: {reason}")


def first_start(flake: Flake) -> None:
    """A new cluster, a node that is invited into it, and both from a volume."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        alpha = new_cluster(flake, folder / "alpha")
        invitation, passphrase = folder / "invitation.txt", folder / "passphrase"
        passphrase.write_text("a passphrase of several words\n")
        passphrase.chmod(0o600)
        alpha.tool(
            "token", "create", "--config", f"{alpha.etc}/made.toml", "--passphrase-file", str(passphrase),
            "--uses", "2", "--output", str(invitation),
        )  # fmt: skip
        beta = Node(
            flake,
            folder / "beta",
            f"""nodeId = "beta"; target = "tcp://127.0.0.1:8080";
            invitation = {{ file = "{invitation}"; passphraseFile = "{passphrase}"; }};""",
        )
        beta.start()
        assert 'id = "beta"' in beta.config and "ticket_file" in beta.config
        address = next(line for line in alpha.config.splitlines() if line.startswith("address"))
        assert address in beta.config
        from_volume(flake, folder, invitation, passphrase, address)


def new_cluster(flake: Flake, folder: Path) -> Node:
    """It is made once; settings follow what is written, and wrong ones change nothing."""
    node = Node(flake, folder, 'newCluster = true; target = "tcp://127.0.0.1:8080"; settings.log.level = "debug";')
    node.start()
    key = (node.etc / "hs_ed25519_secret_key").read_bytes()
    assert 'id = "alpha"' in node.config and 'level = "debug"' in node.config
    assert "8080" in node.config and not list(node.etc.glob("*.new"))
    node.options = 'newCluster = true; target = "tcp://127.0.0.1:9090";'
    node.start()
    assert (node.etc / "hs_ed25519_secret_key").read_bytes() == key
    assert "9090" in node.config and "8080" not in node.config and "debug" not in node.config
    # A start that ended before its last line, and a node that was made by hand, look like this.
    (node.etc / "made.toml").rename(node.etc / "config.toml")
    node.start()
    assert (node.etc / "hs_ed25519_secret_key").read_bytes() == key and "9090" in node.config
    before = node.config
    made = (node.etc / "made.toml").read_text()
    (node.etc / "made.toml").write_text(made + "\n[nonsense]\n")
    refused(node, "nonsense")
    assert node.config == before
    (node.etc / "made.toml").write_text(made)
    return node


def from_volume(flake: Flake, folder: Path, invitation: Path, passphrase: Path, address: str) -> None:
    """One configuration makes different nodes, and says what a volume lacks."""
    options = "volume.enable = true;"
    founder = Node(flake, folder / "gamma", options)
    refused(founder, "the volume has no settings.toml")
    settings = founder.volume / "settings.toml"
    settings.write_text('[proxy]\ntarget = "tcp://192.0.2.7:80"\n')
    refused(founder, "settings.toml names no node")
    settings.write_text('[node]\nid = "gamma"\n')
    refused(founder, "settings.toml has no target")
    settings.write_text('[node]\nid = "gamma"\n[proxy]\ntarget = "tcp://192.0.2.7:80"\n')
    founder.start()
    assert 'id = "gamma"' in founder.config and address not in founder.config
    assert "IPAddressAllow=192.0.2.7\n" in founder.target_sandbox() and "PrivateNetwork=no" in founder.target_sandbox()
    # The volume is put away.
    settings.unlink()
    before = founder.config
    founder.start()
    assert founder.config == before

    invited = Node(flake, folder / "delta", options)
    (invited.volume / "settings.toml").write_text('[node]\nid = "delta"\n[proxy]\ntarget = "unix:/run/target.sock"\n')
    (invited.volume / "invitation.txt").write_text(invitation.read_text())
    refused(invited, "the volume has an invitation.txt and no passphrase.txt")
    (invited.volume / "passphrase.txt").write_text(passphrase.read_text())
    invited.start()
    assert 'id = "delta"' in invited.config and address in invited.config
    assert invited.target_sandbox() == "" and not (invited.etc / "passphrase.tmp").exists()
