# Mistakes, and words of the message that each must give: the one that an operator needs to mend it. `options` is what is
# written under services.rustbalance, `machine` is what is written elsewhere.
let
  peer = id: key: {
    inherit id;
    public_key = key;
  };
  keys = {
    one = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    two = "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo=";
  };
  onion = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
in
{
  # What assertions say.
  asserted = {
    no-target = {
      options.target = null;
      says = "target is missing: where are clients' connections carried to?";
    };
    target-by-name = {
      options.target = "tcp://localhost:8080";
      says = "Names are not looked up: write the IP";
    };
    target-without-scheme = {
      options.target = "127.0.0.1:8080";
      says = "which is none of tcp://IP:PORT, unix:/PATH";
    };
    one-of-several-by-name = {
      options.target = null;
      options.settings.proxy.targets = [
        { address = "unix:/run/app"; }
        { address = "https://www.example.org"; }
      ];
      says = ''target is "https://www.example.org", which is none of'';
    };
    no-address = {
      options.newCluster = false;
      says = "does not know which onion address to serve";
    };
    new-and-invited = {
      options.invitation = {
        file = "/root/invitation.txt";
        passphraseFile = "/root/passphrase";
      };
      says = "newCluster and invitation.file, of which only one can be";
    };
    new-and-known-address = {
      options.settings.service.address = onion;
      says = "newCluster and settings.service.address, of which only one can be";
    };
    invitation-without-passphrase = {
      options = {
        newCluster = false;
        invitation.file = "/root/invitation.txt";
      };
      says = "Nobody is there to be asked when the machine starts";
    };
    key-for-an-invited-node = {
      options = {
        newCluster = false;
        invitation.file = "/root/invitation.txt";
        invitation.passphraseFile = "/root/passphrase";
        masterKeyFile = "/root/key";
      };
      says = "masterKeyFile is only for the first node of a new cluster";
    };
    token-in-the-clear = {
      options.settings.cluster.token = "hunter2hunter2hunter2hunter2";
      says = "settings.cluster.token is a secret in the clear";
    };
    key-in-the-clear = {
      options.settings.mesh.private_key_file = keys.one;
      says = "settings.mesh.private_key_file is a secret in the clear";
    };
    password-in-the-clear = {
      options.settings.tor.b.password = "hunter2";
      says = "settings.tor.b.password is a secret in the clear";
    };
    secret-in-the-store = {
      options.settings.cluster.token_file = "${builtins.toFile "token" "hunter2"}";
      says = "settings.cluster.token_file is in the Nix store, where everybody can read it";
    };
    passphrase-in-the-store = {
      options.passphrase.file = "${builtins.toFile "passphrase" "hunter2"}";
      says = "passphrase.file is in the Nix store, where everybody can read it";
    };
    invitation-in-the-store = {
      options = {
        newCluster = false;
        invitation.file = "${builtins.toFile "invitation" "hunter2"}";
        invitation.passphraseFile = "/root/passphrase";
      };
      says = "invitation.file is in the Nix store, where everybody can read it";
    };
    prometheus-without-address = {
      options.monitoring.prometheus = true;
      says = "monitoring.prometheus has no address to read the figures at";
    };
    two-passphrases = {
      options.passphrase = {
        file = "/run/keys/passphrase";
        encryptedFile = "/etc/credstore.encrypted/passphrase";
      };
      says = "passphrase has file and encryptedFile";
    };
    sealed-master-key = {
      options.settings.service.master_key = "sealed:v1:AAAA";
      says = "tor is given the key by systemd, which needs a file";
    };
    default-host-name = {
      machine.networking.hostName = "nixos";
      says = "would be a second node with the same id";
    };
    host-name-that-is-no-id = {
      machine.networking.hostName = "web_server";
      says = ''networking.hostName "web_server" is no node id'';
    };
    node-id-with-a-dot = {
      options.nodeId = "alpha.example";
      says = ''nodeId "alpha.example" is no node id'';
    };
    own-id-among-the-peers = {
      options.settings.mesh.peers = [ (peer "alpha" keys.one) ];
      says = "which is this node's own id. Two nodes with one id push each other out";
    };
    two-peers-with-one-id = {
      options.settings.mesh.peers = [
        (peer "beta" keys.one)
        (peer "beta" keys.two)
      ];
      says = "two nodes with one id: beta";
    };
    two-peers-with-one-key = {
      options.settings.mesh.peers = [
        (peer "beta" keys.one)
        (peer "gamma" keys.one)
      ];
      says = "two nodes with one WireGuard key";
    };
    endpoint-by-name = {
      options.endpoint = "alpha.example.org:51820";
      says = "which is no IP:PORT such as";
    };
    endpoint-without-port = {
      options.endpoint = "192.0.2.1";
      says = "which is no IP:PORT such as";
    };
    onion-service-in-the-torrc = {
      options.tor.extraConfig = "HiddenServiceDir /var/lib/tor/other";
      says = "For an onion service of your own use services.tor";
    };
    old-tor = {
      options.tor.package = {
        type = "derivation";
        name = "tor-0.4.8.12";
        version = "0.4.8.12";
        outPath = "/nowhere";
      };
      says = "rustbalance needs 0.4.9 or newer";
    };
    hibernation = {
      machine.boot.resumeDevice = "/dev/sda2";
      says = "hibernation writes all memory to a disk";
    };
    immutable-etc = {
      machine.system.etc.overlay = {
        enable = true;
        mutable = false;
      };
      says = "the node's keys are made and kept in /etc/rustbalance";
    };
    sockets-elsewhere = {
      options.settings.ipc.directory = "/run/elsewhere";
      says = ''settings.ipc.directory is "/run/elsewhere", but the units have it at "/run/rustbalance"'';
    };
    state-elsewhere = {
      options.settings.cluster.state_directory = "/srv/state";
      says = ''the units have it at "/var/lib/rustbalance/coordinator"'';
    };
    other-control-port = {
      options.settings.tor.a.control = "127.0.0.1:9051";
      says = ''settings.tor.a.control is "127.0.0.1:9051", but the units have it at'';
    };
  };

  # What the module system says of a wrong type: the option's name and what it takes.
  typed = {
    port-out-of-range = {
      options.settings.mesh.listen_port = 70000;
      says = "services.rustbalance.settings.mesh.listen_port";
    };
    unknown-backend = {
      options.settings.mesh.backend = "wireguard-go";
      says = ''one of "auto", "kernel", "userspace"'';
    };
    negative-priority = {
      options.priority = -1;
      says = "services.rustbalance.priority";
    };
    number-as-text = {
      options.settings.proxy.max_connections = "many";
      says = "services.rustbalance.settings.proxy.max_connections";
    };
    mistyped-option = {
      options.tagret = "tcp://127.0.0.1:8080";
      says = "services.rustbalance.tagret";
    };
  };

  # What the daemons' parser says when the system is built.
  parsed = {
    mistyped-key = {
      options.settings.cluster.hearbeat_timeout_secs = 5;
      says = "cluster: unknown field `hearbeat_timeout_secs`";
    };
    timeout-below-interval = {
      options.settings.cluster.heartbeat_interval_secs = 50;
      says = "is out of range";
    };
    unknown-level = {
      options.settings.log.level = "loud";
      says = ''log.level: "loud" is no log level'';
    };
    chosen-tunnel-address = {
      options.settings.mesh.tunnel_address = "10.1.2.3";
      says = "cannot be chosen in a cluster that nodes join";
    };
    interface-name = {
      options.settings.mesh.interface = "a-name-that-is-too-long";
      says = "is no interface name";
    };
    wrong-address = {
      options = {
        newCluster = false;
        settings.service.address = "aaaa.onion";
      };
      says = "service.address";
    };
  };
}
