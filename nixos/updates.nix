# Updates of the disk image: a new system is written into the partition that does not run, its kernel beside the running one's.
# The newest is started; one that does not come up is left by choosing the other one in the boot menu. (No boot counting:
# nothing here marks a start as good, so every system would count as bad after its third.) State is not touched.
{ config, lib, ... }:
let
  inherit (config.appliance) updates;
  source = pattern: {
    Type = "url-file";
    Path = updates.url;
    MatchPattern = pattern;
  };
  # Files are taken only if the list that comes with them is signed with the operator's key.
  transfer = {
    ProtectVersion = "%A";
    Verify = true;
  };
in
{
  options.appliance.updates = {
    url = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "https?://.+");
      default = null;
      example = "http://192.0.2.10/rustbalance";
      description = ''
        Where new versions lie: `rustbalance_VERSION.store.raw` and `rustbalance_VERSION.efi` of each, and `SHA256SUMS` with
        `SHA256SUMS.gpg`. Without one the appliance is never updated by itself. Who serves it sees the machine's address.
      '';
    };
    keyring = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = "The GPG keyring with the operator's public key, which signs `SHA256SUMS`.";
    };
  };

  config = lib.mkIf (updates.url != null) {
    assertions = [
      {
        assertion = updates.keyring != null;
        message = ''
          appliance.updates.url has no keyring: whoever is at that address could replace the system. Write
          appliance.updates.keyring = ./updates.gpg, with the public key that signs SHA256SUMS.'';
      }
    ];
    environment.etc."systemd/import-pubring.gpg".source = lib.mkIf (
      updates.keyring != null
    ) updates.keyring;
    systemd.sysupdate = {
      enable = true;
      transfers = {
        # The system before its kernel: a kernel without one would not come up.
        "10-store" = {
          Transfer = transfer;
          Source = source "rustbalance_@v.store.raw";
          Target = {
            Type = "partition";
            Path = "/dev/disk/rustbalance";
            MatchPattern = "store_@v";
            MatchPartitionType = "linux-generic";
            ReadOnly = true;
          };
        };
        "20-kernel" = {
          Transfer = transfer;
          Source = source "rustbalance_@v.efi";
          Target = {
            Type = "regular-file";
            Path = "/boot/EFI/Linux";
            MatchPattern = "rustbalance_@v.efi";
            Mode = "0444";
            InstancesMax = 2;
          };
        };
      };
      # When, is the operator's to say: a node that restarts should be drained before.
      reboot.enable = lib.mkDefault false;
    };
  };
}
