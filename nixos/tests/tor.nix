# The machines under tor.py: one for the whole Tor network and its users, and a node.
{ self }:
{
  nodes.network = import ./machines/network.nix { inherit self; };
  nodes.node = import ./machines/first.nix {
    inherit self;
    endpoint = "192.168.1.2:51820";
  };
}
