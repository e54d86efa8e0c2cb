# The shipped units, users and directories where packages have them, byte for byte. `optional` names those of
# units/optional that apply to a node.
{
  lib,
  runCommand,
  optional ? [ ],
}:
runCommand "rustbalance-units"
  {
    units = lib.fileset.toSource {
      root = ./units;
      fileset = lib.fileset.difference ./units ./units/README.md;
    };
    inherit optional;
  }
  ''
    mkdir -p $out/lib/systemd
    cp -r $units/system $out/lib/systemd/system
    chmod -R u+w $out/lib/systemd/system
    for file in $optional; do
      install -D -m 644 $units/optional/$file $out/lib/systemd/system/$file
    done
    cp -r $units/sysusers.d $units/tmpfiles.d $out/lib/
    install -D -m 644 $units/tor/*.torrc -t $out/share/rustbalance/tor
  ''
