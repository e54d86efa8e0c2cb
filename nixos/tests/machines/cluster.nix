# A private Tor network, the first node of a cluster, and empty machines for the others. Addresses are the test driver's: in
# the order of the names.
{
  self,
  others,
  vlans ? [ 1 ],
}:
let
  endpoint = number: "192.168.1.${toString number}:51820";
  within = machine: {
    imports = [ machine ];
    virtualisation.vlans = vlans;
  };
in
{
  nodes = {
    network = {
      imports = [ (import ./network.nix { inherit self; }) ];
      virtualisation.vlans = [ (builtins.elemAt vlans (builtins.length vlans - 1)) ];
    };
    alpha = within (
      import ./first.nix {
        inherit self;
        endpoint = endpoint 1;
      }
    );
  }
  // builtins.listToAttrs (
    builtins.genList (at: {
      name = builtins.elemAt others at;
      value = within (
        import ./empty.nix {
          inherit self;
          endpoint = endpoint (at + 2);
        }
      );
    }) (builtins.length others)
  );
}
