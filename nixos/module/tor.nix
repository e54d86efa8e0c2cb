# The node's own two tors, from the shipped torrcs. `services.tor` is not touched.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.rustbalance;
  shipped = "HiddenServicePort 80 ";
  a = lib.replaceStrings [ shipped ] [ "HiddenServicePort ${toString cfg.settings.join.port} " ] (
    builtins.readFile ../units/tor/a.torrc
  );
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
