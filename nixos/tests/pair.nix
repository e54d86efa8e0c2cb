# The machines under pair.py, which make a tunnel by hand.
let
  machine =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.wireguard-tools ];
      networking.firewall.enable = false;
    };
in
{
  nodes.alpha = machine;
  nodes.beta = machine;
}
