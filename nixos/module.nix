# services.rustbalance: a node of a cluster. The shipped units are installed as they are; the module adds what NixOS does
# differently from other distributions, and what the options change.
{
  imports = [
    ./module/options.nix
    ./module/settings.nix
    ./module/configuration.nix
    ./module/services.nix
    ./module/tor.nix
    ./module/machine.nix
    ./module/monitoring.nix
    ./module/assertions.nix
  ];
}
