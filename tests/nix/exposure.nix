# systemd's own judgement of the generated units, drop-ins included: what each service is exposed to, in tenths of its scale.
{
  lib,
  runCommand,
  systemd,
  util-linux,
  units,
}:
let
  # Twelve is what a connection to the network costs; publisher, watchdog and key have none. The last one gives files to their owners.
  most = {
    rustbalance-coordinator = 15;
    rustbalance-onion-key = 3;
    rustbalance-proxy = 12;
    rustbalance-publisher = 3;
    "rustbalance-tor@a" = 12;
    "rustbalance-tor@b" = 12;
    rustbalance-watchdog = 3;
    configure-rustbalance = 17;
  };
  inside = lib.concatStrings (
    lib.mapAttrsToList (unit: threshold: ''
      report=$(systemd-analyze security --offline=yes --no-pager --threshold=${toString threshold} ${unit}.service) || {
        echo "${unit} is more exposed than ${toString threshold} tenths:"
        echo "$report"
        exit 1
      }
      tail -n 1 <<<"$report"
    '') most
  );
in
runCommand "rustbalance-exposure"
  {
    nativeBuildInputs = [
      systemd
      util-linux
    ];
    inherit inside;
    passAsFile = [ "inside" ];
  }
  ''
    # It wants a /run that it can write to, which builds do not have.
    export SYSTEMD_UNIT_PATH=${units}
    unshare --user --map-root-user --mount bash -euc '
      mkdir root
      mount -t tmpfs none root
      for folder in /*; do
        case $folder in
        /run) mkdir root/run ;;
        *) if [ -L "$folder" ]; then cp -P "$folder" root/; elif [ -d "$folder" ]; then mkdir "root$folder"; mount --rbind "$folder" "root$folder"; fi ;;
        esac
      done
      mkdir -p root/run
      exec chroot root bash -euo pipefail "$1"' exposure "$insidePath" >$out || {
      cat $out
      exit 1
    }
    cat $out
  ''
