# A new cluster, made at the first start, in front of the target that the Debian machines have too.
{ self, endpoint }:
{ pkgs, ... }:
{
  imports = [ self.nixosModules.default ];
  environment.systemPackages = [ pkgs.curl ];
  services.rustbalance = {
    inherit endpoint;
    enable = true;
    openFirewall = true;
    newCluster = true;
    target = "unix:/run/vm-target.sock";
  };
  systemd.packages = [
    (pkgs.runCommand "vm-target" { } ''
      mkdir -p $out/lib/systemd/system
      cp ${../../../tests/vm/target}/* $out/lib/systemd/system
    '')
  ];
  systemd.sockets.vm-target.wantedBy = [ "sockets.target" ];
}
