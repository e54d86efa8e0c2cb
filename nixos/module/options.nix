# The options of services.rustbalance but for `settings`: what an operator says of a node, and how NixOS runs it.
{ lib, pkgs, ... }:
let
  inherit (lib)
    mkEnableOption
    mkOption
    mkPackageOption
    types
    ;

  # A path on the machine. A path of Nix (`./file`) is taken as text too, so that naming it does not copy it into the store.
  secretFile = types.coercedTo types.path toString types.str;
  optionalSecret =
    example: description:
    mkOption {
      type = types.nullOr secretFile;
      default = null;
      inherit example description;
    };
in
{
  options.services.rustbalance = {
    enable = mkEnableOption "rustbalance, a node of a self-healing load balancer for a Tor onion service";

    package = mkPackageOption pkgs "rustbalance" { };

    target = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "tcp://127.0.0.1:8080";
      description = ''
        Where clients' connections are carried to: `tcp://IP:PORT`, `unix:/PATH`, `http://IP[:PORT]`,
        `http://ADDRESS.onion[:PORT]`, the same two with `https://` (which needs {option}`settings.proxy.verify`), or
        `tcp://ADDRESS.onion:PORT`. Several stand in {option}`settings.proxy.targets` instead. The proxy has a network of its
        own only where one of them is an address on TCP.
      '';
    };

    nodeId = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "alpha";
      description = ''
        The node's name, different on every node of the cluster: a letter or digit, then up to 31 letters, digits and `-`,
        all lower case. {option}`networking.hostName` counts where there is none.
      '';
    };

    priority = mkOption {
      type = types.nullOr types.ints.u32;
      default = null;
      example = 10;
      description = "Who should hold the lease: the lowest number first, then by name. Without one it is 100.";
    };

    endpoint = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "192.0.2.1:51820";
      description = ''
        `IP:PORT` where other nodes reach this one's WireGuard, if the machine has a fixed address. At least one of two nodes
        must have one.
      '';
    };

    openFirewall = mkEnableOption ''
      WireGuard's UDP port in the firewall. It is the only one that is ever opened to the outside: the onion service is reached
      through Tor'';

    newCluster = mkEnableOption ''
      a new cluster, made at the first start: keys, tokens and the onion address. Where there is a node in
      {file}`/etc/rustbalance` already, nothing is made, so the option may stay. Say it on one machine only; all others get
      an {option}`services.rustbalance.invitation.file`'';

    masterKeyFile = optionalSecret "/root/hidden_service/hs_ed25519_secret_key" ''
      The secret key of an onion address that exists, in any form that tor has, with which
      {option}`services.rustbalance.newCluster` begins; without one it makes a new address.
    '';

    invitation = {
      file = optionalSecret "/root/invitation.txt" ''
        The invitation that `rustbalance token create` made on a node of the cluster. This node is made of it at the first
        start, and asks to be let in; later starts do not need it.
      '';
      passphraseFile = optionalSecret "/root/invitation.passphrase" ''
        The file with the passphrase of the invitation, which nobody but root may read.
      '';
    };

    volume = {
      enable = mkEnableOption ''
        a node that is made, at its first start, of what lies on a volume: {file}`settings.toml`, with at least the node's id and
        the target, and {file}`invitation.txt` with {file}`passphrase.txt`, or neither for a new cluster. It is how one image
        becomes any node'';
      label = mkOption {
        type = types.strMatching "[A-Za-z0-9_-]{1,11}";
        default = "RUSTBALANCE";
        description = "The label of the volume's file system.";
      };
    };

    passphrase = {
      file = optionalSecret "/run/keys/rustbalance-passphrase" ''
        The file with the passphrase of sealed secrets (`rustbalance seal`). systemd reads it as root and gives it, in memory,
        to those services that open secrets. Without one {file}`/etc/credstore/rustbalance-passphrase` counts.
      '';
      encryptedFile = optionalSecret "/etc/credstore.encrypted/rustbalance-passphrase" ''
        The same, encrypted under a key of this machine or its TPM by
        `systemd-creds encrypt --name=rustbalance-passphrase - FILE`.
      '';
    };

    tor = {
      package = mkPackageOption pkgs "tor" { };
      extraConfig = mkOption {
        type = types.lines;
        default = "";
        example = ''
          UseBridges 1
          Bridge 192.0.2.9:443 2B280B23E1107BB62ABFC40DDCC8824814F80A72
        '';
        description = ''
          Lines for the torrcs of both of the node's tors, such as bridges. They stand in the Nix store, readable for every
          user. `services.tor` is another tor, with which rustbalance has nothing to do.
        '';
      };
    };
  };
}
