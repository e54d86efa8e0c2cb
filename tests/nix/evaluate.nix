# The module on its own: real module system, real options of ours, and of NixOS only what the assertions read. So a mistake
# costs milliseconds; `module.nix` looks at whole systems.
{ lib, pkgs }:
let
  inherit (lib) mkOption types;
  value =
    type: default:
    mkOption {
      inherit type default;
    };
  surroundings = {
    options = {
      assertions = value (types.listOf types.unspecified) [ ];
      networking.hostName = value types.str "alpha";
      boot.resumeDevice = value types.str "";
      boot.isContainer = value types.bool false;
      system.etc.overlay.enable = value types.bool false;
      system.etc.overlay.mutable = value types.bool true;
      systemd.package = value types.unspecified pkgs.systemd;
    };
    # Everything else that the module sets is of no interest here.
    config._module.check = false;
    config._module.args.pkgs = pkgs;
  };
  # A node that is right; each mistake is made on top.
  right = {
    services.rustbalance = {
      enable = true;
      target = lib.mkDefault "tcp://127.0.0.1:8080";
      newCluster = lib.mkDefault true;
    };
  };
in
rec {
  asModule = mistake: {
    imports = [ (mistake.machine or { }) ];
    services.rustbalance = mistake.options or { };
  };

  config =
    mistake:
    (lib.evalModules {
      modules = [
        ../../nixos/module.nix
        surroundings
        right
        mistake
      ];
    }).config;

  # The options alone, where the module system minds a name that is none.
  options =
    mistake:
    (lib.evalModules {
      modules = [
        ../../nixos/module/options.nix
        ../../nixos/module/settings.nix
        {
          options.networking.hostName = surroundings.options.networking.hostName;
          config._module.args.pkgs = pkgs;
        }
        mistake
      ];
    }).config.services.rustbalance;

  # What an operator would read, line breaks aside.
  messages =
    mistake:
    map (failed: lib.replaceStrings [ "\n" ] [ " " ] failed.message) (
      lib.filter (assertion: !assertion.assertion) (config (asModule mistake)).assertions
    );
}
