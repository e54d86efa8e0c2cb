# The appliance as a medium to start from, for machines with UEFI or BIOS: the system stays on it, and what is kept lies on a
# partition with the label `state`, which an operator has made on a disk (`mkfs.ext4`, with the folders `rustbalance` and `var`).
{ modulesPath, ... }:
{
  imports = [
    "${modulesPath}/installer/cd-dvd/iso-image.nix"
    "${modulesPath}/profiles/minimal.nix"
    ./appliance.nix
  ];
  isoImage = {
    makeEfiBootable = true;
    makeUsbBootable = true;
    volumeID = "RBAPPLIANCE";
  };
}
