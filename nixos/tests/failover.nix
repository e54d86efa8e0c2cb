# The machines under failover.py.
{ self }:
import ./machines/cluster.nix {
  inherit self;
  others = [
    "beta"
    "gamma"
  ];
}
