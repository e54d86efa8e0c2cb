# All of a node but what makes it one: the script does that, as an operator would.
{ self, endpoint }:
{ lib, ... }:
{
  imports = [ (import ./first.nix { inherit self endpoint; }) ];
  systemd.services.configure-rustbalance.enable = lib.mkForce false;
}
