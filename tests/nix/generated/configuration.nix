# What nixos-generate-config writes of a virtual machine with a BIOS, without its comments, and the disk named in it as an
# operator does.
{ ... }:
{
  imports = [ ./hardware-configuration.nix ];
  boot.loader.grub.enable = true;
  boot.loader.grub.device = "/dev/vda";
  system.stateVersion = "26.05";
}
