# The node's own two tors, from the shipped torrcs. `services.tor` is not touched.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.rustbalance;
  shipped = "HiddenServicePort 80 ";
  # Behind all that belongs to the onion service, to which it belongs, too.
  circuits = lib.optionalString (
    cfg.settings.proxy.circuits or null != null
  ) "# For [proxy.circuits].\nHiddenServiceExportCircuitID haproxy\n";
  a =
    lib.replaceStrings [ shipped ] [ "HiddenServicePort ${toString cfg.settings.join.port} " ] (
      builtins.readFile ../units/tor/a.torrc
    )
    + circuits;
  b = builtins.readFile ../units/tor/b.torrc;
in
{
  config = lib.mkIf cfg.enable {
    environment.etc = {
      "rustbalance-tor/a.torrc".text = a;
      "rustbalance-tor/b.torrc".text = b;
      "rustbalance-tor/local.d/nixos.conf".text = cfg.tor.extraConfig;
    };
    systemd.services."rustbalance-tor@" = {
      overrideStrategy = "asDropin";
      path = lib.mkForce [ ];
      restartTriggers = [
        a
        b
        cfg.tor.extraConfig
      ];
    };
  };
}
