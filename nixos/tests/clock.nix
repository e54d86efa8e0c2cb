# The machines under clock.py.
{ self }:
import ./machines/cluster.nix {
  inherit self;
  others = [ "beta" ];
}
