# What `nix flake check` builds and runs. tests/nix evaluates the same where nothing of nixpkgs can be built.
{
  self,
  nixpkgs,
  pkgs,
}:
let
  # Not that of `pkgs`: the names of the checks do not depend on the packages.
  inherit (nixpkgs) lib;

  # A test of virtual machines is a .nix file in tests/ that describes them; its script lies beside it, where the harness of
  # Debian machines finds it too.
  machines = lib.filter (lib.hasSuffix ".nix") (lib.attrNames (builtins.readDir ./tests));
  test =
    file:
    let
      name = lib.removeSuffix ".nix" file;
      description = import (./tests + "/${file}");
      given = if lib.isFunction description then description { inherit self; } else description;
    in
    lib.nameValuePair "vm-${name}" (
      pkgs.testers.runNixOSTest (
        {
          inherit name;
          # What scripts have in common comes before each.
          testScript = lib.readFile ./tests/common.py + "\n" + lib.readFile (./tests + "/${name}.py");
          # The script is written for two harnesses, of which one has types of its own.
          skipTypeCheck = true;
        }
        // given
      )
    );

  sources = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../flake.nix
      ../.rustfmt.toml
      ../Cargo.toml
      ../src
      (lib.fileset.fileFilter (file: file.hasExt "nix") ./.)
      (lib.fileset.fileFilter (file: file.hasExt "nix") ../tests)
    ];
  };
in
{
  # With its unit tests.
  package = pkgs.rustbalance;

  clippy = pkgs.rustbalance.overrideAttrs (before: {
    pname = "${before.pname}-clippy";
    nativeBuildInputs = before.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = "cargo clippy --offline --lib --bins -- -D warnings";
    doCheck = false;
    installPhase = "touch $out";
  });

  formatting =
    pkgs.runCommand "formatting"
      {
        nativeBuildInputs = with pkgs; [
          deadnix
          nixfmt
          rustfmt
          statix
        ];
      }
      ''
        cd ${sources}
        find . -name '*.nix' -exec nixfmt --check {} +
        deadnix --fail .
        statix check .
        find src -name '*.rs' -exec rustfmt --check --edition 2024 --config-path .rustfmt.toml {} +
        touch $out
      '';

  options = self.packages.${pkgs.stdenv.hostPlatform.system}.options;

  module = pkgs.callPackage ../tests/nix/module.nix { inherit self nixpkgs; };

  exposure = pkgs.callPackage ../tests/nix/exposure.nix {
    units = self.nixosConfigurations.alpha.config.environment.etc."systemd/system".source;
  };
}
// lib.listToAttrs (map test machines)
