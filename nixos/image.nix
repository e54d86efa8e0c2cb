# The appliance: one image for every node of every cluster. The system is read-only; what makes it a node comes from a volume
# at the first start, and lies, with what the node learns, on a partition that is made then.
#
# It is a disk image for machines with UEFI. Partitions have fixed identifiers and the store's files have no times, so that
# two builds are the same bytes: `nix build --rebuild .#image` builds again, and compares.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (pkgs.stdenv.hostPlatform) efiArch;
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
  imports = [
    "${modulesPath}/image/repart.nix"
    "${modulesPath}/profiles/minimal.nix"
  ];

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
    loader.grub.enable = false;
    initrd = {
      systemd.enable = true;
      # Makes the partition for what is kept, in what the disk has left.
      systemd.repart.enable = true;
      availableKernelModules = [
        "ahci"
        "nvme"
        "sd_mod"
        "virtio_blk"
        "virtio_pci"
        "virtio_scsi"
      ];
      supportedFilesystems = [
        "erofs"
        "ext4"
      ];
    };
    kernelParams = [ "panic=10" ];
  };
  systemd.repart.partitions."30-state" = {
    Type = "linux-generic";
    Label = "state";
    Format = "ext4";
    SizeMinBytes = "512M";
    MakeDirectories = "/rustbalance /var";
  };

  fileSystems = {
    "/" = {
      device = "none";
      fsType = "tmpfs";
      options = [
        "mode=0755"
        "size=256M"
      ];
    };
    "/nix/store" = {
      device = "/dev/disk/by-partlabel/store";
      fsType = "erofs";
      options = [ "ro" ];
      neededForBoot = true;
    };
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

  image.repart = {
    name = "rustbalance";
    partitions = {
      "10-esp" = {
        contents = {
          "/EFI/BOOT/BOOT${lib.toUpper efiArch}.EFI".source =
            "${config.systemd.package}/lib/systemd/boot/efi/systemd-boot${efiArch}.efi";
          "/EFI/Linux/${config.system.boot.loader.ukiFile}".source =
            "${config.system.build.uki}/${config.system.boot.loader.ukiFile}";
        };
        repartConfig = {
          Type = "esp";
          Format = "vfat";
          SizeMinBytes = "128M";
        };
      };
      "20-store" = {
        storePaths = [ config.system.build.toplevel ];
        stripNixStorePrefix = true;
        repartConfig = {
          Type = "linux-generic";
          Label = "store";
          Format = "erofs";
          Minimize = "best";
        };
      };
    };
  };

  system.stateVersion = "26.05";
}
