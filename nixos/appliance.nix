# The appliance: one system for every node of every cluster, as a disk (image.nix) or a medium (iso.nix). It is read-only;
# what makes it a node comes from a volume at the first start, and lies, with what the node learns, on a partition with the
# label `state`.
{ lib, ... }:
let
  # On the partition, and where the system has it. Both before anything looks for them.
  kept = folder: place: {
    ${place} = {
      device = "/state${folder}";
      fsType = "none";
      options = [ "bind" ];
      depends = [ "/state" ];
      neededForBoot = true;
    };
  };
in
{
  services = {
    rustbalance = {
      enable = true;
      openFirewall = true;
      volume.enable = true;
    };
    # Nobody gets in with a password, where an operator's module enables it at all.
    openssh = {
      openFirewall = lib.mkDefault true;
      settings = {
        KbdInteractiveAuthentication = false;
        PasswordAuthentication = false;
        PermitRootLogin = "prohibit-password";
      };
    };
    # What is logged is gone with the power.
    journald.storage = "volatile";
  };

  networking = {
    hostName = lib.mkDefault "rustbalance";
    useNetworkd = true;
    firewall.allowPing = false;
  };
  # Nobody logs in: not at the console, and not over the network, unless a module of the operator's enables SSH and brings
  # keys.
  users.mutableUsers = false;
  users.allowNoPasswordLogin = true;
  nix.enable = false;
  # Nothing is ever swapped.
  swapDevices = lib.mkForce [ ];
  zramSwap.enable = false;

  boot = {
    initrd.availableKernelModules = [
      "ahci"
      "nvme"
      "sd_mod"
      "virtio_blk"
      "virtio_pci"
      "virtio_scsi"
    ];
    initrd.supportedFilesystems.ext4 = true;
    kernelParams = [ "panic=10" ];
  };

  fileSystems = {
    "/state" = {
      device = "/dev/disk/by-partlabel/state";
      fsType = "ext4";
      options = [
        "nosuid"
        "nodev"
        "noexec"
      ];
      neededForBoot = true;
    };
  }
  // kept "/var" "/var"
  // kept "/rustbalance" "/etc/rustbalance";

  system.stateVersion = "26.05";
}
