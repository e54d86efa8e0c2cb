# The first node of a cluster, in front of a service on the same machine.
{
  imports = [ ./machine.nix ];
  services.rustbalance = {
    enable = true;
    openFirewall = true;
    newCluster = true;
    target = "tcp://127.0.0.1:8080";
    endpoint = "192.0.2.1:51820";
  };
}
