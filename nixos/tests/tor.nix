# The machines under tor.py: one for the whole Tor network and its users, and the node of single.nix.
{ self }:
{
  nodes.network =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        pkgs.curl
        pkgs.tor
        self.packages.${pkgs.stdenv.hostPlatform.system}.default
      ];
      networking.firewall.enable = false;
      virtualisation.memorySize = 1500;
    };
  nodes.node =
    { lib, ... }:
    {
      imports = [ (import ./single.nix { inherit self; }).nodes.machine ];
      services.rustbalance.endpoint = lib.mkForce "192.168.1.2:51820";
    };
}
