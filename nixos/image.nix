# The appliance as a disk image, for machines with UEFI. Partitions have fixed identifiers and the store's files have no times,
# so that two builds are the same bytes: `nix build --rebuild .#image` builds again, and compares.
#
# The disk has room for two systems, of which one runs: updates.nix writes the other one.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (pkgs.stdenv.hostPlatform) efiArch;
  inherit (config.system.image) version;
  layout = import ./disk-layout.nix;
  # Stage 1 and stage 2 find the disk that they were started from by this name.
  diskRule = ''
    SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ENV{ID_PART_TABLE_UUID}=="${layout.disk}", SYMLINK+="disk/rustbalance"
  '';
  storeSize = "2G";
in
{
  imports = [
    "${modulesPath}/image/repart.nix"
    "${modulesPath}/profiles/minimal.nix"
    ./appliance.nix
    ./updates.nix
  ];

  system.image = {
    id = "rustbalance";
    version = lib.mkDefault (lib.importTOML ../Cargo.toml).package.version;
  };

  boot = {
    loader.grub.enable = false;
    initrd = {
      systemd.enable = true;
      # Makes the partition for what is kept, in what the disk has left. The root is in memory, so that the disk has to be named.
      systemd.repart = {
        enable = true;
        device = "/dev/disk/rustbalance";
      };
      services.udev.rules = diskRule;
      supportedFilesystems.erofs = true;
    };
  };
  services.udev.extraRules = diskRule;
  systemd.repart.partitions."30-state" = {
    # One of its own: systemd-repart would take any partition of the same type for this one, and let the system's grow.
    Type = layout.stateType;
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
      device = "/dev/disk/by-partlabel/store_${version}";
      fsType = "erofs";
      options = [ "ro" ];
      neededForBoot = true;
    };
    "/boot" = {
      device = "/dev/disk/by-partlabel/esp";
      fsType = "vfat";
      options = [
        "nosuid"
        "nodev"
        "noexec"
        "umask=0077"
      ];
    };
  };

  image.repart = {
    name = "rustbalance";
    inherit (layout) seed;
    # What an update is made of: the system's partition by itself.
    split = true;
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
          Label = "esp";
          Format = "vfat";
          # Two kernels, and one that is just being written.
          SizeMinBytes = "512M";
          SplitName = "-";
        };
      };
      "20-store" = {
        storePaths = [ config.system.build.toplevel ];
        stripNixStorePrefix = true;
        repartConfig = {
          Type = "linux-generic";
          Label = "store_${version}";
          Format = "erofs";
          SizeMinBytes = storeSize;
          SizeMaxBytes = storeSize;
          SplitName = "store";
        };
      };
      "25-next".repartConfig = {
        Type = "linux-generic";
        # systemd-sysupdate writes into partitions of this name.
        Label = "_empty";
        SizeMinBytes = storeSize;
        SizeMaxBytes = storeSize;
        SplitName = "-";
      };
    };
  };
}
