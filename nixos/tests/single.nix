# The node under single.py.
{ self }:
{
  nodes.machine = import ./machines/first.nix {
    inherit self;
    endpoint = "192.168.1.1:51820";
  };
}
