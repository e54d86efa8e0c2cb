# The shipped units, and what the options change of them, in drop-ins.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.rustbalance;
  inherit (cfg) settings;

  # The addresses of targets to which the proxy connects itself (`tcp://IP:PORT` or `http://IP`); everything else it reaches
  # through sockets in the file system.
  tcpAddresses = lib.concatMap (
    target:
    let
      parts = builtins.match "(tcp|https?)://(\\[([0-9a-fA-F:.]+)]|([0-9.]+))(:[0-9]+)?/?" target;
      address = if lib.elemAt parts 2 != null then lib.elemAt parts 2 else lib.elemAt parts 3;
    in
    lib.optional (parts != null) address
  ) (import ./targets.nix lib settings);
  isLocal = address: lib.hasPrefix "127." address || address == "::1";
  remoteAddresses = lib.unique (lib.filter (address: !isLocal address) tcpAddresses);

  units = pkgs.callPackage ../unit-files.nix {
    optional =
      lib.optional (tcpAddresses != [ ]) "rustbalance-proxy.service.d/tcp-target.conf"
      ++ lib.optional (
        settings.mesh.backend == "userspace"
      ) "rustbalance-coordinator.service.d/userspace-wireguard.conf";
  };

  # The units name programs without a path. This has a name of its own: systemd reads, of drop-ins with one name, only that
  # of the unit itself, where NixOS writes overrides.conf.
  programs = pkgs.writeTextDir "lib/systemd/system/rustbalance-.service.d/nixos.conf" ''
    [Service]
    ExecSearchPath=${
      lib.makeBinPath [
        cfg.package
        cfg.tor.package
        config.systemd.package
        pkgs.coreutils
      ]
    }
  '';

  # An empty first entry takes away what the shipped unit says.
  passphrase =
    others:
    if cfg.passphrase.encryptedFile != null then
      {
        LoadCredential = [ "" ] ++ others;
        LoadCredentialEncrypted = "rustbalance-passphrase:${cfg.passphrase.encryptedFile}";
      }
    else if cfg.passphrase.file != null then
      { LoadCredential = [ "" ] ++ others ++ [ "rustbalance-passphrase:${cfg.passphrase.file}" ]; }
    else
      { };
  masterKey = settings.service.master_key_file;
  hasOwnKeyFile = masterKey != "/etc/rustbalance/hs_ed25519_secret_key";
  onionKeyCredentials = [
    "config.toml:/etc/rustbalance/config.toml"
    "hs_ed25519_secret_key:${masterKey}"
  ];

  # What the shipped unit allows is for the daemon's defaults.
  drainSeconds =
    if settings.proxy.drain_timeout_secs == null then 20 else settings.proxy.drain_timeout_secs;
  connections =
    if settings.proxy.max_connections == null then 1024 else settings.proxy.max_connections;
in
{
  config = lib.mkIf cfg.enable {
    systemd = {
      packages = [
        units
        programs
      ];
      tmpfiles.packages = [ units ];
      targets.rustbalance.wantedBy = [ "multi-user.target" ];
      paths = lib.mkIf hasOwnKeyFile {
        rustbalance-onion-key.pathConfig.PathChanged = [
          ""
          masterKey
        ];
      };

      services = {
        rustbalance-proxy = {
          path = lib.mkForce [ ];
          serviceConfig = lib.mkMerge [
            (lib.mkIf (remoteAddresses != [ ]) { IPAddressAllow = remoteAddresses; })
            (lib.mkIf (drainSeconds > 50) { TimeoutStopSec = builtins.ceil drainSeconds + 10; })
            (lib.mkIf (connections > 5000) { LimitNOFILE = 3 * connections + 384; })
          ];
        };
        rustbalance-publisher = {
          path = lib.mkForce [ ];
          serviceConfig = passphrase [ ];
        };
        rustbalance-coordinator = {
          path = lib.mkForce [ ];
          serviceConfig = passphrase [ ];
        };
        rustbalance-watchdog.path = lib.mkForce [ ];
        rustbalance-onion-key = {
          path = lib.mkForce [ ];
          serviceConfig = lib.mkMerge [
            (lib.mkIf hasOwnKeyFile {
              LoadCredential = lib.mkDefault ([ "" ] ++ onionKeyCredentials ++ [ "rustbalance-passphrase" ]);
            })
            (passphrase onionKeyCredentials)
          ];
        };
      };
    };
  };
}
