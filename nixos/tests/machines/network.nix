# The machine with the private Tor network and its clients.
{ self }:
{ pkgs, ... }:
{
  environment.systemPackages = [
    pkgs.curl
    pkgs.tor
    self.packages.${pkgs.stdenv.hostPlatform.system}.default
  ];
  networking.firewall.enable = false;
  virtualisation.memorySize = 1500;
}
