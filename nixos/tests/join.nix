# The machines under join.py.
{ self }:
import ./machines/cluster.nix {
  inherit self;
  others = [ "beta" ];
}
