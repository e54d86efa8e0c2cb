# Every other node: made of an invitation at its first start.
{
  imports = [ ./machine.nix ];
  services.rustbalance = {
    enable = true;
    openFirewall = true;
    target = "tcp://127.0.0.1:8080";
    endpoint = "192.0.2.2:51820";
    invitation.file = "/root/invitation.txt";
    invitation.passphraseFile = "/root/invitation.passphrase";
  };
}
