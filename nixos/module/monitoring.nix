# What watches a node from outside: its figures on an address of this machine, and the alert rules and the dashboard that belong
# to them.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.rustbalance;
  inherit (cfg) monitoring;
  inherit (lib) mkEnableOption mkOption types;

  file =
    name: description:
    mkOption {
      type = types.path;
      readOnly = true;
      default = ../monitoring + "/${name}";
      defaultText = lib.literalMD "{file}`nixos/monitoring/${name}`";
      inherit description;
    };
in
{
  options.services.rustbalance.monitoring = {
    listen = mkOption {
      type = types.nullOr (types.strMatching "(127(\\.[0-9]{1,3}){3}|\\[::1]):[0-9]{1,5}");
      default = null;
      example = "127.0.0.1:9469";
      description = ''
        Where Prometheus reads the node's figures: an address of this machine alone, since they tell which machines belong to
        the onion. Without one they are only served on {file}`/run/rustbalance/web.sock`, to the group `rustbalance-web`.
      '';
    };
    prometheus = mkEnableOption "reading the node's figures, and the alert rules, in {option}`services.prometheus` of this machine";
    rules = file "rules.yaml" "Alert rules, for `rule_files` of a Prometheus elsewhere; its job is called `rustbalance`.";
    dashboard = file "dashboard.json" ''
      A dashboard for Grafana, for {option}`services.grafana.provision.dashboards` of the machine that has it.
    '';
  };

  config = lib.mkIf (cfg.enable && monitoring.listen != null) {
    services.prometheus = lib.mkIf monitoring.prometheus {
      ruleFiles = [ monitoring.rules ];
      scrapeConfigs = [
        {
          job_name = "rustbalance";
          static_configs = [ { targets = [ monitoring.listen ]; } ];
        }
      ];
    };

    systemd.sockets.metrics-of-rustbalance = {
      description = "rustbalance: figures for Prometheus";
      wantedBy = [ "sockets.target" ];
      socketConfig = {
        ListenStream = monitoring.listen;
        # More readers than a Prometheus and an operator wait.
        Backlog = 16;
      };
    };
    # Not rustbalance-metrics, which would have the sandbox of the daemons.
    systemd.services.metrics-of-rustbalance = {
      description = "rustbalance: figures for Prometheus";
      serviceConfig = {
        ExecStart = "${config.systemd.package}/lib/systemd/systemd-socket-proxyd --connections-max=16 --exit-idle-time=120 /run/rustbalance/web.sock";
        Slice = "rustbalance.slice";
        DynamicUser = true;
        SupplementaryGroups = "rustbalance-web";
        CapabilityBoundingSet = "";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        PrivateDevices = true;
        # Its socket is systemd's, and what it connects to is a file.
        PrivateNetwork = true;
        PrivateUsers = true;
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        RestrictAddressFamilies = "AF_UNIX";
        RestrictNamespaces = true;
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        UMask = "0077";
      };
    };
  };
}
