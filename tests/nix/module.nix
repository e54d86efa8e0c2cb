# The module in whole systems: what it sets elsewhere in NixOS, and the units of each system, compared byte for byte with the
# shipped ones and, line by line, with what the options change. `package` stands in for one that cannot be built.
{
  lib,
  pkgs,
  runCommand,
  self,
  nixpkgs,
  package ? null,
}:
let
  system =
    node:
    (nixpkgs.lib.nixosSystem {
      modules = [
        self.nixosModules.default
        ../../nixos/examples/machine.nix
        {
          nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
          networking.hostName = lib.mkDefault "alpha";
          services.rustbalance = {
            enable = lib.mkDefault true;
            target = lib.mkDefault "unix:/run/target.sock";
            package = lib.mkIf (package != null) package;
          };
        }
        node
      ];
    }).config;

  address = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
  first = system ../../nixos/examples/first-node.nix;
  joining = system ../../nixos/examples/joining-node.nix;
  declared = system {
    services.rustbalance = {
      priority = 10;
      settings = {
        service.address = address;
        service.master_key_file = "/run/secrets/onion";
        join.port = 8080;
        log.level = "debug";
      };
    };
  };
  changed = system {
    services.rustbalance = {
      newCluster = true;
      target = "http://[2001:db8::7]";
      endpoint = "[2001:db8::1]:4000";
      passphrase.encryptedFile = "/etc/credstore.encrypted/rustbalance-passphrase";
      tor.extraConfig = "UseBridges 1";
      settings = {
        proxy.mode = "http";
        proxy.drain_timeout_secs = 90;
        proxy.max_connections = 20000;
        mesh.backend = "userspace";
        mesh.interface = "wg-other";
        mesh.datagram_port = 4001;
      };
    };
  };
  several = system {
    services.rustbalance = {
      newCluster = true;
      target = null;
      endpoint = "192.0.2.1:51820";
      settings.proxy.targets = [
        { address = "tcp://127.0.0.1:8080"; }
        {
          address = "https://[2001:db8::8]:8443";
          weight = 3;
          verify = "webpki";
          host = "www.example.org";
        }
        { address = "http://${address}"; }
      ];
    };
  };
  watched = system {
    services.rustbalance = {
      newCluster = true;
      monitoring.listen = "127.0.0.1:9469";
      monitoring.prometheus = true;
    };
    services.prometheus.enable = true;
  };
  off = system { services.rustbalance.enable = false; };

  # Drop-ins that every node has, for what restarts a daemon when its files change.
  always = {
    "rustbalance-coordinator.service" = [ ];
    "rustbalance-onion-key.service" = [ ];
    "rustbalance-proxy.service" = [ ];
    "rustbalance-publisher.service" = [ ];
    "rustbalance-watchdog.service" = [ ];
    "rustbalance-tor@.service" = [ ];
    "rustbalance.target" = [ ];
  };
  systems = {
    first = {
      config = first;
      optional = [ "rustbalance-proxy.service.d/tcp-target.conf" ];
      overrides = always;
    };
    joining = {
      config = joining;
      optional = [ "rustbalance-proxy.service.d/tcp-target.conf" ];
      overrides = always;
    };
    declared = {
      config = declared;
      optional = [ ];
      overrides = always // {
        "rustbalance-onion-key.path" = [
          "PathChanged="
          "PathChanged=/run/secrets/onion"
        ];
        "rustbalance-onion-key.service" = [
          "LoadCredential="
          "LoadCredential=config.toml:/etc/rustbalance/config.toml"
          "LoadCredential=hs_ed25519_secret_key:/run/secrets/onion"
          "LoadCredential=rustbalance-passphrase"
        ];
      };
    };
    several = {
      config = several;
      optional = [ "rustbalance-proxy.service.d/tcp-target.conf" ];
      overrides = always // {
        "rustbalance-proxy.service" = [ "IPAddressAllow=2001:db8::8" ];
      };
    };
    changed = {
      config = changed;
      optional = [
        "rustbalance-coordinator.service.d/userspace-wireguard.conf"
        "rustbalance-proxy.service.d/tcp-target.conf"
      ];
      overrides =
        let
          passphrase = "LoadCredentialEncrypted=rustbalance-passphrase:/etc/credstore.encrypted/rustbalance-passphrase";
        in
        always
        // {
          "rustbalance-proxy.service" = [
            "IPAddressAllow=2001:db8::7"
            "LimitNOFILE=60384"
            "TimeoutStopSec=100"
          ];
          "rustbalance-publisher.service" = [
            "LoadCredential="
            passphrase
          ];
          "rustbalance-coordinator.service" = [
            "LoadCredential="
            passphrase
          ];
          "rustbalance-onion-key.service" = [
            "LoadCredential="
            "LoadCredential=config.toml:/etc/rustbalance/config.toml"
            "LoadCredential=hs_ed25519_secret_key:/etc/rustbalance/hs_ed25519_secret_key"
            passphrase
          ];
        };
    };
  };

  etc = config: name: config.environment.etc.${name};
  users = [
    "rustbalance-coordinator"
    "rustbalance-proxy"
    "rustbalance-publisher"
    "rustbalance-tor-a"
    "rustbalance-tor-b"
    "rustbalance-watchdog"
  ];
  groups = [
    "rustbalance"
    "rustbalance-coordinator-ipc"
    "rustbalance-onion"
    "rustbalance-proxy-ipc"
    "rustbalance-publisher-ipc"
    "rustbalance-tor-control"
    "rustbalance-tor-socks"
    "rustbalance-web"
  ];
  ours = lib.filterAttrs (name: _: lib.hasPrefix "rustbalance" name);
  facts = {
    "the examples have no failing assertion" =
      lib.all (config: lib.all (assertion: assertion.assertion) config.assertions)
        [
          first
          joining
          declared
          changed
        ];
    "a node without rustbalance has nothing of it" =
      ours off.users.users == { }
      && ours off.environment.etc == { }
      && ours off.systemd.services == { }
      && off.networking.firewall.allowedUDPPorts == [ ];
    "each process has a user, each interface a group" =
      lib.attrNames (ours first.users.users) == users
      && lib.attrNames (ours first.users.groups) == lib.sort lib.lessThan (users ++ groups)
      && lib.all (
        user: first.users.users.${user}.isSystemUser && first.users.users.${user}.group == user
      ) users;
    "only WireGuard's port is open, where that is wished" =
      first.networking.firewall.allowedUDPPorts == [ 51820 ]
      && first.networking.firewall.allowedTCPPorts == [ ]
      && declared.networking.firewall.allowedUDPPorts == [ ];
    "the cluster's datagrams come in through the tunnel, and only there" =
      first.networking.firewall.interfaces.wg-rb.allowedUDPPorts == [ 51821 ]
      && changed.networking.firewall.interfaces.wg-other.allowedUDPPorts == [ 4001 ];
    "WireGuard listens at the endpoint's port" =
      changed.services.rustbalance.settings.mesh.listen_port == 4000;
    "the tunnel is left alone" =
      first.systemd.network.networks."10-rustbalance".linkConfig.Unmanaged
      && lib.elem "interface-name:wg-rb" first.networking.networkmanager.unmanaged
      && lib.elem "wg-rb" first.networking.dhcpcd.denyInterfaces;
    "the kernel has WireGuard where it carries the tunnel" =
      lib.elem "wireguard" first.boot.kernelModules && !lib.elem "wireguard" changed.boot.kernelModules;
    "the clock is set, and nothing is written out by hibernation" =
      first.services.timesyncd.enable && lib.elem "nohibernate" first.boot.kernelParams;
    "Prometheus reads the figures at the address, and has the rules" =
      (lib.head watched.services.prometheus.scrapeConfigs).job_name == "rustbalance"
      &&
        (lib.head (lib.head watched.services.prometheus.scrapeConfigs).static_configs).targets == [
          "127.0.0.1:9469"
        ]
      && watched.services.prometheus.ruleFiles == [ ../../nixos/monitoring/rules.yaml ]
      && watched.systemd.sockets.metrics-of-rustbalance.socketConfig.ListenStream == "127.0.0.1:9469"
      && lib.all (assertion: assertion.assertion) watched.assertions;
    "the figures are on no address where none is given" =
      !(first.systemd.sockets ? metrics-of-rustbalance)
      && !(first.systemd.services ? metrics-of-rustbalance)
      && lib.pathExists first.services.rustbalance.monitoring.dashboard;
    "the target is wanted at boot" =
      first.systemd.targets.rustbalance.wantedBy == [ "multi-user.target" ];
    "the torrcs are the shipped ones but for the onion's port" =
      (etc first "rustbalance-tor/a.torrc").text == lib.readFile ../../nixos/units/tor/a.torrc
      && (etc first "rustbalance-tor/b.torrc").text == lib.readFile ../../nixos/units/tor/b.torrc
      && lib.hasInfix "\nHiddenServicePort 8080 unix:" (etc declared "rustbalance-tor/a.torrc").text
      && !lib.hasInfix "HiddenServicePort 80 " (etc declared "rustbalance-tor/a.torrc").text
      && (etc changed "rustbalance-tor/local.d/nixos.conf").text == "UseBridges 1";
    "a complete configuration is a file, one that is laid over another is not" =
      (etc declared "rustbalance/config.toml").mode == "0640"
      && (etc declared "rustbalance/config.toml").group == "rustbalance"
      && !(declared.systemd.services ? configure-rustbalance)
      && !(first.environment.etc ? "rustbalance/config.toml")
      && first.systemd.services.configure-rustbalance.wantedBy == [ "rustbalance.target" ];
    "a new cluster is made, an invitation is used" =
      let
        # Some versions of nixpkgs put what needs no quotes into quotes.
        script =
          config: lib.replaceStrings [ "'" ] [ "" ] config.systemd.services.configure-rustbalance.script;
      in
      lib.hasInfix "rustbalance init --node-id alpha --target tcp://127.0.0.1:8080 --directory" (
        script first
      )
      && lib.hasInfix "rustbalance join /root/invitation.txt --node-id alpha --passphrase-file" (
        script joining
      );
  };
  broken = lib.attrNames (lib.filterAttrs (_: holds: !holds) facts);

  mistakes = import ./mistakes.nix;
  evaluate = import ./evaluate.nix { inherit lib pkgs; };
  # Exactly one message, so that one mistake is not blamed for another.
  unheard = lib.filterAttrs (
    _: mistake:
    let
      messages = evaluate.messages mistake;
    in
    lib.length messages != 1 || !lib.hasInfix mistake.says (lib.head messages)
  ) mistakes.asserted;

  compare = name: each: ''
    echo "the units of system ${name}"
    units=${each.config.environment.etc."systemd/system".source}
    (cd ${../../nixos/units/system} && find . -type f) | while read -r file; do
      cmp ${../../nixos/units/system}/$file $units/$file
    done
    for file in ${toString each.optional}; do
      cmp ${../../nixos/units/optional}/$file $units/$file
    done
    grep -q '^ExecSearchPath=${each.config.services.rustbalance.package}/bin:' $units/rustbalance-.service.d/nixos.conf
    # Nothing else is there: no unit, and no drop-in but the expected ones, which say what is expected.
    (cd $units && find rustbalance* run-rustbalance* -follow -type f -not -name overrides.conf -not -path '*.wants/*' | sort) >found
    (
      cd ${../../nixos/units/system} && find rustbalance* run-rustbalance* -type f
      printf '%s\n' rustbalance-.service.d/nixos.conf ${toString each.optional}
    ) | sed '/^$/d' | sort | diff - found
    (cd $units && find . -follow -path './rustbalance*/overrides.conf' -printf '%h\n' | sort) >found
    printf './%s.d\n' ${toString (map lib.escapeShellArg (lib.attrNames each.overrides))} | sort | diff - found
    ${lib.concatStrings (
      lib.mapAttrsToList (unit: lines: ''
        sed -E '/^(\[.*]|Environment=.*|X-Restart-Triggers=.*|)$/d' \
          "$units/${unit}.d/overrides.conf" | sort >found
        printf '%s' ${
          lib.escapeShellArg (lib.concatMapStrings (line: line + "\n") lines)
        } | sort | diff - found
      '') each.overrides
    )}
  '';
in
assert lib.assertMsg (broken == [ ]) "not so: ${lib.concatStringsSep "; " broken}";
assert lib.assertMsg (unheard == { })
  "mistakes with another message than expected: ${
    lib.concatStringsSep "; " (
      lib.mapAttrsToList (name: mistake: "${name}: ${toString (evaluate.messages mistake)}") unheard
    )
  }";
runCommand "rustbalance-module-tests" { } ''
  ${lib.concatStrings (lib.mapAttrsToList compare systems)}
  # What was laid over a made node, and what is a whole configuration, have both been through the parser.
  grep -q 'level = "debug"' ${(etc declared "rustbalance/config.toml").source}
  touch $out
''
