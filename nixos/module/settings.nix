# services.rustbalance.settings: the configuration file. What the module or the units depend on has a type here; every other
# key is taken as it is, and judged by the daemons' own parser when the system is built.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.rustbalance;
  toml = pkgs.formats.toml { };

  # Null leaves a key out: the daemon's own default counts, or what a new or invited node was made with.
  optionalKey =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  key =
    type: default: description:
    mkOption { inherit type default description; };
  # A path on the machine or a sealed value; assertions.nix refuses what is neither.
  secret =
    default:
    mkOption {
      type = types.nullOr (types.coercedTo types.path toString types.str);
      inherit default;
      description = ''
        The path of the file, or a sealed value (`rustbalance seal --value`). A secret in the clear would be readable for
        everybody in the Nix store, and is refused.
      '';
    };
  torSockets = instance: {
    control =
      key types.str "unix:/run/rustbalance-tor/${instance}/control/socket"
        "Control port of tor ${instance}, as its torrc has it.";
    socks =
      key types.str "unix:/run/rustbalance-tor/${instance}/socks/socket"
        "SOCKS port of tor ${instance}, as its torrc has it.";
  };
  # The port where others reach this node is the one it listens on, unless told otherwise.
  endpointPort =
    let
      port = if cfg.endpoint == null then null else builtins.match ".*:([0-9]{1,5})" cfg.endpoint;
    in
    if port == null then 51820 else lib.toIntBase10 (lib.head port);
in
{
  options.services.rustbalance.settings = mkOption {
    default = { };
    example = {
      cluster.heartbeat_timeout_secs = 5;
      log.level = "debug";
    };
    description = ''
      The configuration, section by section, as `rustbalance init` comments it. These values lie over what
      {option}`services.rustbalance.newCluster` or an invitation made; without either, they are the whole configuration. They
      stand in the Nix store, readable for every user, which is why secrets are files.
    '';
    type = types.submodule {
      freeformType = toml.type;
      options = {
        node = {
          id = optionalKey types.str "See {option}`services.rustbalance.nodeId`.";
          priority = optionalKey types.ints.u32 "See {option}`services.rustbalance.priority`.";
        };
        service = {
          address = optionalKey types.str ''
            The onion address, for a node whose key and tokens are brought by other means than
            {option}`services.rustbalance.newCluster` and an invitation.
          '';
          master_key_file = secret "/etc/rustbalance/hs_ed25519_secret_key";
        };
        tor = {
          a = torSockets "a";
          b = torSockets "b";
        };
        proxy = {
          target = optionalKey types.str "See {option}`services.rustbalance.target`.";
          targets = optionalKey (types.listOf (
            types.submodule {
              freeformType = toml.type;
              options.address = mkOption {
                type = types.str;
                description = "Where it is, as {option}`services.rustbalance.target` has it.";
              };
            }
          )) "Several targets instead of one, each with a `weight` and whatever else belongs to it.";
          verify = optionalKey (types.enum [
            "webpki"
            "spki-pin"
            "onion"
          ]) "Which certificates are accepted from a target with `https://`.";
          mode =
            optionalKey
              (types.enum [
                "tcp"
                "http"
              ])
              "What is carried: bytes of any protocol, or HTTP/1.1 with the target's name exchanged for the onion service's.";
          host = optionalKey types.str "What the target calls itself, in HTTP mode and in its certificate, where that is not what the target option says.";
          circuits = optionalKey (types.attrsOf types.ints.unsigned) "How much one client circuit may ask for; `{ }` for what is usual. The serving tor is told to say which circuit each connection comes over.";
          max_connections = optionalKey (types.ints.between 1 100000) "Connections carried at once. The proxy's limit of open files grows with it.";
          drain_timeout_secs = optionalKey types.numbers.nonnegative "How long connections may take to finish when the proxy stops. systemd waits for longer.";
        };
        mesh = {
          endpoint = optionalKey types.str "See {option}`services.rustbalance.endpoint`.";
          listen_port =
            key types.port endpointPort
              "UDP port of WireGuard. Unless said otherwise, that of {option}`services.rustbalance.endpoint`."
            // {
              defaultText = lib.literalMD "the endpoint's port, or `51820`";
            };
          datagram_port = key types.port 51821 "UDP port inside the tunnel, the same on every node.";
          interface = key types.str "wg-rb" "The name of the tunnel's interface.";
          backend = optionalKey (types.enum [
            "auto"
            "kernel"
            "userspace"
          ]) "Whose WireGuard carries the tunnel.";
          private_key_file = secret "/etc/rustbalance/wireguard.key";
          peers = optionalKey (types.listOf toml.type) ''
            Nodes that were configured by hand. Those that were invited are learnt, and not listed.
          '';
        };
        cluster = {
          token_file = secret "/etc/rustbalance/cluster.token";
        };
        join = {
          secret_file = secret "/etc/rustbalance/join.secret";
          port = key types.port 80 "The onion service's virtual port, the same on every node.";
        };
        log = {
          level = optionalKey types.str "`error`, `warn`, `info`, `debug`, `trace`, or pairs with modules.";
        };
      };
    };
  };

  config.services.rustbalance.settings = {
    node = {
      # Who is told by a volume is not told by the image.
      id = lib.mkIf (!cfg.volume.enable) (
        lib.mkDefault (if cfg.nodeId != null then cfg.nodeId else lib.toLower config.networking.hostName)
      );
      priority = lib.mkIf (cfg.priority != null) cfg.priority;
    };
    proxy.target = lib.mkIf (cfg.target != null) cfg.target;
    mesh.endpoint = lib.mkIf (cfg.endpoint != null) cfg.endpoint;
  };
}
