# Mistakes that no type and no parser can see, or would tell too late: each message says what is wrong, and what to write.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.rustbalance;
  inherit (cfg) settings;
  here = "services.rustbalance";

  # A name for people, from the parts of an option's path.
  option = parts: lib.concatStringsSep "." ([ here ] ++ parts);
  isSealed = lib.hasPrefix "sealed:v";
  isInStore = lib.hasPrefix builtins.storeDir;

  # Every secret that is written down: the option's name and its value.
  configured = lib.filter ({ value, ... }: value != null) (
    lib.concatMap (
      {
        section,
        file,
        short,
      }:
      map
        (key: {
          name = option ([ "settings" ] ++ section ++ [ key ]);
          value = lib.attrByPath (section ++ [ key ]) null settings;
        })
        (
          lib.filter (key: key != null) [
            file
            short
          ]
        )
    ) (import ./secrets.nix)
  );
  named = lib.filter ({ value, ... }: value != null) [
    {
      name = option [ "masterKeyFile" ];
      value = cfg.masterKeyFile;
    }
    {
      name = option [
        "invitation"
        "file"
      ];
      value = cfg.invitation.file;
    }
    {
      name = option [
        "invitation"
        "passphraseFile"
      ];
      value = cfg.invitation.passphraseFile;
    }
    {
      name = option [
        "passphrase"
        "file"
      ];
      value = cfg.passphrase.file;
    }
    {
      name = option [
        "passphrase"
        "encryptedFile"
      ];
      value = cfg.passphrase.encryptedFile;
    }
  ];

  secrets = lib.concatMap (
    { name, value }:
    [
      {
        # The value is not repeated: messages end up in logs.
        assertion = isSealed value || lib.hasPrefix "/" value;
        message = ''
          ${name} is a secret in the clear, and would stand readable for everybody in the Nix store. Write the path of a file
          that holds it ("/etc/rustbalance/…"), or seal it with `rustbalance seal --value`.'';
      }
      {
        assertion = !isInStore value;
        message = ''
          ${name} is in the Nix store, where everybody can read it. Keep the file outside of the configuration's folder, and
          write its path as text ("/root/…").'';
      }
    ]
  ) (configured ++ named);

  ways = lib.filter (way: way.said) [
    {
      said = cfg.newCluster;
      name = "newCluster";
    }
    {
      said = cfg.invitation.file != null;
      name = "invitation.file";
    }
    {
      said = cfg.volume.enable;
      name = "volume.enable";
    }
    {
      said = settings.service.address != null;
      name = "settings.service.address";
    }
  ];

  peers = if settings.mesh.peers == null then [ ] else settings.mesh.peers;
  doubles =
    key:
    let
      values = lib.filter (value: value != null) (map (peer: peer.${key} or null) peers);
    in
    lib.unique (lib.filter (value: lib.count (other: other == value) values > 1) values);

  isEndpoint = text: builtins.match "([0-9.]+|\\[[0-9a-fA-F:.]+]):[0-9]{1,5}" text != null;
  isTarget =
    text:
    builtins.match "unix:/.+|https?://[a-z2-7]{56}[.]onion(:[0-9]+)?/?|tcp://[a-z2-7]{56}[.]onion:[0-9]+|tcp://([0-9.]+|\\[[0-9a-fA-F:.]+]):[0-9]+|https?://([0-9.]+|\\[[0-9a-fA-F:.]+])(:[0-9]+)?/?" text
    != null;

  targets = import ./targets.nix lib settings;
  wrongTargets = lib.filter (target: !isTarget target) targets;

  # What the units fix, so that another value leaves the daemons asking at places where nobody is.
  fixed =
    path: expected:
    let
      value = lib.attrByPath path null settings;
    in
    {
      assertion = value == null || value == expected;
      message = ''${
        option ([ "settings" ] ++ path)
      } is "${toString value}", but the units have it at "${expected}". Leave it out.'';
    };

  forbiddenInTorrc = lib.filter (
    line:
    builtins.match "[[:space:]]*(hiddenservice|controlport|socksport|datadirectory|publishhidserv|cookieauth).*" (
      lib.toLower line
    ) != null
  ) (lib.splitString "\n" cfg.tor.extraConfig);

  nodeIdOption = if cfg.nodeId != null then option [ "nodeId" ] else "networking.hostName";
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      secrets
      ++ [
        {
          assertion = targets != [ ] || cfg.volume.enable;
          message = ''
            ${option [ "target" ]} is missing: where are clients' connections carried to? For a service on this machine write
            target = "tcp://127.0.0.1:8080", for an onion service target = "http://ADDRESS.onion".'';
        }
        {
          assertion = wrongTargets == [ ];
          message = ''
            ${option [ "target" ]} is "${lib.head wrongTargets}", which is none of tcp://IP:PORT, unix:/PATH,
            http://IP[:PORT], http://ADDRESS.onion[:PORT], the same two with https://, and tcp://ADDRESS.onion:PORT. Names are
            not looked up: write the IP address.'';
        }
        {
          assertion = ways != [ ];
          message = ''
            ${here} does not know which onion address to serve. On the first machine write newCluster = true, on every
            other one invitation.file = "/root/invitation.txt" (made by `rustbalance token create`).'';
        }
        {
          assertion = lib.length ways < 2;
          message = ''
            ${here} has ${
              lib.concatMapStringsSep " and " (way: way.name) ways
            }, of which only one can be: newCluster begins a
            cluster, an invitation joins one, a volume says which of both, and an address in the settings is for files that are
            brought otherwise.'';
        }
        {
          assertion = cfg.invitation.file == null || cfg.invitation.passphraseFile != null;
          message = ''
            ${option [ "invitation" ]}.file has no passphraseFile. Nobody is there to be asked when the machine starts: bring
            the passphrase by another way than the invitation, and write passphraseFile = "/root/invitation.passphrase".'';
        }
        {
          assertion = cfg.masterKeyFile == null || cfg.newCluster;
          message = ''
            ${option [ "masterKeyFile" ]} is only for the first node of a new cluster (newCluster = true). An invitation
            brings the key; where files are brought otherwise it is settings.service.master_key_file.'';
        }
        {
          assertion = cfg.nodeId != null || cfg.volume.enable || config.networking.hostName != "nixos";
          message = ''
            ${option [ "nodeId" ]} is missing, and networking.hostName is still "nixos": the next machine that is installed
            like this would be a second node with the same id. Give the machine a name of its own, or the node an id.'';
        }
        {
          assertion =
            settings.node.id == null || builtins.match "[a-z0-9][a-z0-9-]{0,31}" settings.node.id != null;
          message = ''${nodeIdOption} "${toString settings.node.id}" is no node id. Write ${option [ "nodeId" ]} = "alpha": 1 to 32 of a-z, 0-9 and "-", not beginning with "-".'';
        }
        {
          assertion = !lib.any (peer: (peer.id or null) == settings.node.id) peers;
          message = ''
            ${option [ "settings" ]}.mesh.peers has a node "${toString settings.node.id}", which is this node's own id. Two nodes with
            one id push each other out of the cluster: list only the others, each by an id of its own.'';
        }
        {
          assertion = doubles "id" == [ ];
          message = ''
            ${option [ "settings" ]}.mesh.peers has two nodes with one id: ${toString (doubles "id")}. Each node needs an id
            of its own.'';
        }
        {
          assertion = doubles "public_key" == [ ];
          message = ''
            ${option [ "settings" ]}.mesh.peers has two nodes with one WireGuard key. A key belongs to one machine: make
            another with `wg genkey`, and do not copy a machine's /etc/rustbalance to another one.'';
        }
        {
          assertion = settings.mesh.endpoint == null || isEndpoint settings.mesh.endpoint;
          message = ''
            ${option [ "endpoint" ]} is "${toString settings.mesh.endpoint}", which is no IP:PORT such as "192.0.2.1:51820" or
            "[2001:db8::1]:51820". Names are not looked up, since that would tell others where the nodes are.'';
        }
        {
          assertion = cfg.passphrase.file == null || cfg.passphrase.encryptedFile == null;
          message = ''
            ${option [ "passphrase" ]} has file and encryptedFile. The passphrase is one or the other: keep encryptedFile,
            and remove the file that holds it in the clear.'';
        }
        {
          assertion = !isSealed (toString (settings.service.master_key or settings.service.master_key_file));
          message = ''
            ${option [ "settings" ]}.service.master_key is a sealed value, but tor is given the key by systemd, which needs
            a file: put the sealed key into one, and write settings.service.master_key_file = "/etc/rustbalance/…".'';
        }
        {
          assertion = forbiddenInTorrc == [ ];
          message = ''
            ${option [ "tor" ]}.extraConfig has "${
              lib.head (forbiddenInTorrc ++ [ "" ])
            }", which the node's own torrcs say
            already. For an onion service of your own use services.tor, which is another tor.'';
        }
        {
          assertion = lib.versionAtLeast (lib.getVersion cfg.tor.package) "0.4.9";
          message = ''
            ${option [ "tor" ]}.package is tor ${lib.getVersion cfg.tor.package}; rustbalance needs 0.4.9 or newer, whose
            onion services can be a balancer of their own address.'';
        }
        {
          assertion = !cfg.monitoring.prometheus || cfg.monitoring.listen != null;
          message = ''
            ${option [ "monitoring" ]}.prometheus has no address to read the figures at: Prometheus reads no unix sockets. Write
            monitoring.listen = "127.0.0.1:9469".'';
        }
        {
          assertion = config.boot.resumeDevice == "";
          message = ''
            boot.resumeDevice is set: hibernation writes all memory to a disk, the onion's key with it. Remove it; ${here}
            turns hibernation off.'';
        }
        {
          assertion = !(config.system.etc.overlay.enable or false) || config.system.etc.overlay.mutable;
          message = "system.etc.overlay.mutable is false, but the node's keys are made and kept in /etc/rustbalance. Set it to true.";
        }
        (fixed [ "ipc" "directory" ] "/run/rustbalance")
        (fixed [ "cluster" "state_directory" ] "/var/lib/rustbalance/coordinator")
        (fixed [ "proxy" "listen" ] "unix:/run/rustbalance/onion.sock")
        (fixed [ "vault" "passphrase_credential" ] "rustbalance-passphrase")
      ]
      ++
        lib.concatMap
          (instance: [
            (fixed [ "tor" instance "control" ] "unix:/run/rustbalance-tor/${instance}/control/socket")
            (fixed [ "tor" instance "socks" ] "unix:/run/rustbalance-tor/${instance}/socks/socket")
          ])
          [
            "a"
            "b"
          ];
  };
}
