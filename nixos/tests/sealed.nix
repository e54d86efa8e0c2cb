# The node under sealed.py: that of single.nix, which the script makes itself, and seals.
{ self }:
{
  nodes.machine =
    { lib, ... }:
    {
      imports = [ (import ./single.nix { inherit self; }).nodes.machine ];
      services.rustbalance.passphrase.encryptedFile = "/etc/credstore.encrypted/rustbalance-passphrase";
      systemd.services.configure-rustbalance.enable = lib.mkForce false;
    };
}
