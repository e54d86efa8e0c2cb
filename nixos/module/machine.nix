# What a node needs of its machine: users, the tunnel left alone, one port, a clock, and memory that is never written to a disk.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.rustbalance;
  inherit (cfg.settings) mesh;

  # Lines such as `u  NAME  -  "DESCRIPTION"  -  -` and `g  NAME  -`: the shipped file is the only list of users.
  sysusers = lib.filter (fields: fields != null) (
    map (builtins.match "([ug]) +([a-z-]+) +-( +\"([^\"]*)\".*)?") (
      lib.splitString "\n" (builtins.readFile ../units/sysusers.d/rustbalance.conf)
    )
  );
  ofKind = kind: lib.filter (fields: lib.head fields == kind) sysusers;
  name = fields: lib.elemAt fields 1;
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];

    users.users = lib.listToAttrs (
      map (fields: {
        name = name fields;
        value = {
          isSystemUser = true;
          group = name fields;
          description = lib.elemAt fields 3;
        };
      }) (ofKind "u")
    );
    # A user has a group of the same name.
    users.groups = lib.genAttrs (map name sysusers) (_: { });

    # The watchdog repairs through systemd, which asks polkit.
    security.polkit.enable = lib.mkDefault true;
    environment.etc."polkit-1/rules.d/rustbalance.rules".source = ../units/polkit/rustbalance.rules;

    networking = {
      firewall = {
        allowedUDPPorts = lib.mkIf cfg.openFirewall [ mesh.listen_port ];
        # Who reaches this is a node of the cluster, through WireGuard.
        interfaces.${mesh.interface}.allowedUDPPorts = [ mesh.datagram_port ];
      };

      # The coordinator makes the tunnel, and nobody else changes it.
      networkmanager.unmanaged = [ "interface-name:${mesh.interface}" ];
      dhcpcd.denyInterfaces = [ mesh.interface ];
    };
    systemd.network.networks."10-rustbalance" = {
      matchConfig.Name = mesh.interface;
      linkConfig.Unmanaged = true;
    };
    # No service of the node may load a module.
    boot.kernelModules = lib.mkIf (mesh.backend != "userspace") [ "wireguard" ];

    # Descriptors and invitations have times in them, and tor refuses to work with a wrong clock. A container has its host's.
    services.timesyncd.enable = lib.mkIf (!config.boot.isContainer) (lib.mkDefault true);

    # All memory of the daemons is locked, and they leave no core dump. Hibernation would write it out all the same.
    boot.kernelParams = [ "nohibernate" ];
  };
}
