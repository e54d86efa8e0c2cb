# The node under sealed.py: one that the script makes itself, and seals.
{ self }:
{
  nodes.machine = {
    imports = [
      (import ./machines/empty.nix {
        inherit self;
        endpoint = "192.168.1.1:51820";
      })
    ];
    services.rustbalance.passphrase.encryptedFile = "/etc/credstore.encrypted/rustbalance-passphrase";
  };
}
