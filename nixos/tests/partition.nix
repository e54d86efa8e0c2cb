# The machines under partition.py: the tunnel goes through the first network, Tor through the second.
{ self }:
import ./machines/cluster.nix {
  inherit self;
  others = [ "beta" ];
  vlans = [
    1
    2
  ];
}
