"""A node's whole NixOS system, built over the distribution's programs, and booted in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from nix import HOME, Failed, Flake

CONTAINER = HOME / "tests/nix/container"
#: A booted system takes seconds; one that hangs is not waited for longer than this.
LIMIT_SECONDS = 600
#: The node in the container, in front of the target of the virtual machines. The kernel outside may have no WireGuard.
NODE = """(nixpkgs.lib.nixosSystem { modules = [ self.nixosModules.default ({ lib, pkgs, ... }: {
  nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
  system.stateVersion = "24.11";
  networking.hostName = "alpha";
  boot.isContainer = true;
  networking.useNetworkd = true;
  systemd.network.wait-online.enable = false;
  networking.useDHCP = false;
  networking.useHostResolvConf = false;
  networking.firewall.enable = false;
  security.sudo.enable = false;
  security.polkit.enable = lib.mkForce false;
  system.switch.enable = false;
  fileSystems."/" = { device = "none"; fsType = "tmpfs"; };
  services.rustbalance = {
    enable = true;
    inherit package;
    newCluster = true;
    target = "unix:/run/vm-target.sock";
    endpoint = "192.0.2.1:51820";
    settings.mesh.backend = "userspace";
    monitoring.listen = "127.0.0.1:9469";
  };
  systemd.packages = [ (pkgs.runCommand "vm-target" { } "install -Dm644 ${source + "/tests/vm/target"}/* -t $out/lib/systemd/system") ];
  systemd.sockets.vm-target.wantedBy = [ "sockets.target" ];
}) ]; }).config.system.build.toplevel"""
#: What is asked of it; each line must succeed.
SCRIPT = """
answer='curl --silent --show-error --fail --max-time 30 --unix-socket /run/rustbalance/onion.sock http://onion/'
serving() {
  for unit in proxy coordinator publisher watchdog tor@a tor@b; do
    timeout 60 sh -c "until systemctl --quiet is-active rustbalance-$unit; do sleep 0.2; done" || { systemctl status --no-pager "rustbalance-$unit"; exit 1; }
  done
  [ "$($answer)" = 'the target' ]
}
serving
echo "all services serve"
rustbalance inspect address /etc/rustbalance
before=$(sha256sum /etc/rustbalance/hs_ed25519_secret_key)
systemctl restart rustbalance.target configure-rustbalance
systemctl restart rustbalance-proxy rustbalance-coordinator rustbalance-publisher rustbalance-watchdog
serving
[ "$before" = "$(sha256sum /etc/rustbalance/hs_ed25519_secret_key)" ]
curl --silent --show-error --fail --max-time 30 http://127.0.0.1:9469/metrics | grep -c '^rustbalance_'
for unit in proxy coordinator publisher watchdog tor@a tor@b; do
  pid=$(systemctl show --value --property MainPID "rustbalance-$unit")
  grep -q '^NoNewPrivs:.1$' "/proc/$pid/status"
done
"""


def debian_root() -> Path:
    """The folder in which tests/nix/shell makes one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RUSTBALANCE_NIX_ROOT") or cache / "rustbalance/nix-root")


def missing(root: Path) -> str | None:
    """Why no system can be booted here."""
    if os.geteuid() != 0:
        return "only root can boot a system in a container"
    if not shutil.which("systemd-nspawn"):
        return "there is no systemd-nspawn here: install systemd-container"
    if not (root / "usr/bin/tor").exists():
        return f"the Debian root {root} has no tor: remove it, and it is made again with one"
    return None


def boot(flake: Flake, programs: Path, root: Path) -> None:
    """Builds the system with these programs, boots it, and asks it."""
    package = f"""pkgs.runCommand "rustbalance-built-by-cargo" {{ meta.mainProgram = "rustbalance"; }} ''
        install -D ${{{programs}}}/rustbalance* -t $out/bin
    ''"""
    system = flake.build(f"let package = {package}; in {NODE}")
    done = subprocess.run(
        [str(CONTAINER), str(root), str(system), SCRIPT], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise Failed(done.stderr[-6000:])
