# The options of services.rustbalance as a page, from their own descriptions.
{
  lib,
  pkgs,
  nixpkgs,
  nixosOptionsDoc,
}:
let
  # Only the options' declarations are looked at, so nothing else of NixOS is needed.
  inherit
    (nixpkgs.lib.evalModules {
      modules = [
        ./module/monitoring.nix
        ./module/options.nix
        ./module/settings.nix
        {
          _module.args = { inherit pkgs; };
          _module.check = false;
        }
      ];
    })
    options
    ;
in
(nixosOptionsDoc {
  options = { inherit (options.services) rustbalance; };
  # Where an option is declared: its file in the repository, not in somebody's store.
  transformOptions =
    option:
    option
    // {
      declarations = map (
        file: lib.removePrefix (toString ../. + "/") (toString file)
      ) option.declarations;
    };
}).optionsCommonMark
