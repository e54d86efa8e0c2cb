# The machine under smoke.py: NixOS as it is, with what the script calls.
{
  nodes.machine =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        pkgs.tor
        pkgs.wireguard-tools
      ];
    };
}
