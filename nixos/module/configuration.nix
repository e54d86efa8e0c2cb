# /etc/rustbalance/config.toml: the settings alone, where they are complete, or laid over what `rustbalance init` or
# `rustbalance join` made at the first start. Either way the daemons' own parser judges them when the system is built.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.rustbalance;
  toml = pkgs.formats.toml { };
  tool = lib.getExe cfg.package;

  isMade = cfg.newCluster || cfg.invitation.file != null || cfg.volume.enable;

  # A secret under its short name stands in place of the file, which has a default.
  withoutDoubles =
    settings:
    lib.foldl' (
      settings:
      {
        section,
        file,
        short,
      }:
      if short != null && lib.attrByPath (section ++ [ short ]) null settings != null then
        lib.updateManyAttrsByPath [
          {
            path = section;
            update = keys: removeAttrs keys [ file ];
          }
        ] settings
      else
        settings
    ) settings (import ./secrets.nix);
  withoutNulls =
    value:
    if lib.isAttrs value then
      lib.mapAttrs (_: withoutNulls) (lib.filterAttrs (_: inner: inner != null) value)
    else
      value;

  settings = toml.generate "rustbalance-settings.toml" (withoutNulls (withoutDoubles cfg.settings));

  # What will be laid over a node that is not made yet is laid over one that is made here and thrown away.
  checked = pkgs.runCommand "rustbalance-settings-checked.toml" { } (
    lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) (
      if isMade then
        ''
          ${tool} init --directory "$PWD/node" --node-id build --target unix:/nowhere >/dev/null
          ${tool} merge-config node/config.toml ${settings} >config.toml
          ${tool} check-config config.toml
        ''
      else
        "${tool} check-config ${settings}\n"
    )
    + "cp ${settings} $out"
  );

  directory = "/etc/rustbalance";
  call =
    arguments:
    "rustbalance ${
      lib.escapeShellArgs (
        arguments
        ++ [
          "--directory"
          directory
        ]
      )
    }";
  # What makes a node where there is none.
  make =
    if cfg.volume.enable then
      "${pkgs.runtimeShell} ${./from-volume.sh} ${volume} ${directory}"
    else if cfg.newCluster then
      call (
        [
          "init"
          "--node-id"
          cfg.settings.node.id
          "--target"
          # Several are laid over it.
          (if cfg.settings.proxy.target == null then "unix:/nowhere" else cfg.settings.proxy.target)
        ]
        ++ lib.optionals (cfg.masterKeyFile != null) [
          "--master-key"
          cfg.masterKeyFile
        ]
      )
    else
      call [
        "join"
        cfg.invitation.file
        "--node-id"
        cfg.settings.node.id
        "--passphrase-file"
        cfg.invitation.passphraseFile
      ];
  # In a folder of root's: a volume that every system can write knows no owners, and would show its passphrase to everybody.
  volumes = "/run/rustbalance-volumes";
  volume = "${volumes}/first";

  # Before all that has ConditionPathExists=/etc/rustbalance/config.toml.
  services = map (name: "rustbalance-${name}.service") [
    "coordinator"
    "onion-key"
    "proxy"
    "publisher"
    "watchdog"
    "tor@a"
    "tor@b"
  ];
in
{
  options.services.rustbalance.settingsFile = lib.mkOption {
    type = lib.types.package;
    readOnly = true;
    default = checked;
    defaultText = lib.literalMD "made of {option}`services.rustbalance.settings`";
    description = "The settings as they are written. Building it has them checked.";
  };

  config = lib.mkIf cfg.enable {
    environment.etc = lib.mkIf (!isMade) {
      "rustbalance/config.toml" = {
        source = checked;
        mode = "0640";
        group = "rustbalance";
      };
    };

    # Not in /etc/fstab, which would have every start wait for a volume that is long put away.
    systemd.mounts = lib.optional cfg.volume.enable {
      what = "/dev/disk/by-label/${cfg.volume.label}";
      where = volume;
      options = "ro,nosuid,nodev,noexec";
      unitConfig.DefaultDependencies = false;
    };

    systemd.tmpfiles.rules = lib.optional cfg.volume.enable "d ${volumes} 0700 root root -";

    systemd.services = lib.mkMerge [
      # A daemon that is restarted refuses nobody: its sockets are systemd's, and it finishes what is under way.
      (lib.genAttrs
        [
          "rustbalance-coordinator"
          "rustbalance-proxy"
          "rustbalance-publisher"
          "rustbalance-watchdog"
        ]
        (_: {
          restartTriggers = [ checked ];
        })
      )
      (lib.mkIf isMade {
        # Not rustbalance-configure, which would have the sandbox of the daemons and wait for its own result.
        configure-rustbalance = {
          description = "rustbalance: the node's files, of what was made and what the settings say";
          wantedBy = [ "rustbalance.target" ];
          before = services;
          after = [
            "systemd-tmpfiles-setup.service"
            "systemd-tmpfiles-resetup.service"
          ];
          path = [
            cfg.package
            config.systemd.package
          ];
          script = ''
            umask 077
            cd ${directory}
            if [ ! -e made.toml ]; then
              # It may have been made by hand, or by a start that did not come to its end. The next steps that are told are
              # for people, and done here already.
              ${lib.optionalString (!cfg.volume.enable) "[ -e config.toml ] || "}${make} >/dev/null
              mv config.toml made.toml
            fi
            rustbalance merge-config made.toml ${checked} >config.toml.new
            # The daemons go on with the configuration from before where this one is wrong.
            rustbalance check-config config.toml.new >/dev/null
            mv config.toml.new config.toml
            rustbalance check-config config.toml
            systemd-tmpfiles --create --prefix=/etc/rustbalance rustbalance.conf
          ''
          + lib.optionalString cfg.volume.enable ''
            # The proxy's sandbox follows the targets, which the image does not know.
            addresses=$(rustbalance check-config config.toml |
              sed -n 's/^target *//; T; /^unix:/d; /[.]onion:/d; s|^https://||; s/:[0-9]*$//; s/[][]//g; p')
            if [ -n "$addresses" ]; then
              mkdir -p /run/systemd/system/rustbalance-proxy.service.d
              {
                cat ${../units/optional/rustbalance-proxy.service.d/tcp-target.conf}
                printf 'IPAddressAllow=%s\n' $addresses
              } >/run/systemd/system/rustbalance-proxy.service.d/tcp-target.conf
              systemctl daemon-reload
            fi
          '';
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            Slice = "rustbalance.slice";
            # As in rustbalance-.service.d/sandbox.conf, for keys are made here.
            LimitCORE = 0;
            LimitMEMLOCK = "infinity";
            DevicePolicy = "closed";
            IPAddressDeny = "any";
            LockPersonality = true;
            MemoryDenyWriteExecute = true;
            NoNewPrivileges = true;
            PrivateDevices = true;
            PrivateIPC = true;
            PrivateNetwork = true;
            ProcSubset = "pid";
            ProtectClock = true;
            ProtectControlGroups = true;
            ProtectHome = "read-only";
            ProtectHostname = true;
            ProtectKernelLogs = true;
            ProtectKernelModules = true;
            ProtectKernelTunables = true;
            ProtectProc = "invisible";
            ProtectSystem = "strict";
            ReadWritePaths = [ directory ] ++ lib.optional cfg.volume.enable "/run/systemd/system";
            RestrictAddressFamilies = "AF_UNIX";
            RestrictNamespaces = true;
            RestrictRealtime = true;
            RestrictSUIDSGID = true;
            SystemCallArchitectures = "native";
            SystemCallFilter = [
              "@system-service"
              "~@resources"
              "mlockall"
              "setrlimit"
              "prlimit64"
            ];
            UMask = "0077";
            # It gives each file to its daemon, and reads an invitation wherever root can.
            CapabilityBoundingSet = [
              "CAP_CHOWN"
              "CAP_DAC_OVERRIDE"
              "CAP_FOWNER"
            ];
          };
        };
      })
    ];
  };
}
