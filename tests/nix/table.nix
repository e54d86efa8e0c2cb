# The mistakes of mistakes.nix as an operator meets them, for `run`, which prints them.
{
  lib,
  pkgs,
  package,
}:
let
  mistakes = import ./mistakes.nix;
  evaluate = import ./evaluate.nix { inherit lib pkgs; };
in
{
  asserted = lib.mapAttrs (
    _: mistake: lib.concatStringsSep " / " (evaluate.messages mistake)
  ) mistakes.asserted;
  # Only one at a time can be looked at, for its message ends the evaluation.
  typed = lib.mapAttrs (
    _: mistake:
    builtins.deepSeq (removeAttrs (evaluate.options (evaluate.asModule mistake)) [
      "package"
      "tor"
    ]) "no message"
  ) mistakes.typed;
  # Files that the parser refuses to let be built.
  parsed = lib.mapAttrs (
    _: mistake:
    (evaluate.config {
      imports = [ (evaluate.asModule mistake) ];
      services.rustbalance = { inherit package; };
    }).services.rustbalance.settingsFile
  ) mistakes.parsed;
  says = lib.mapAttrs (_: lib.mapAttrs (_: mistake: mistake.says)) mistakes;
}
