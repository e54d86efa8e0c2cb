# The programs, with manual pages and completions. What systemd needs of them is in unit-files.nix, apart, so that a change
# of a unit does not compile anything.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
}:
let
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = manifest.package.name;
  inherit (manifest.package) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../src
      # The lab starts its nodes from the units, the tests compare them with the daemons.
      ./units
      (lib.fileset.difference ../tests (
        lib.fileset.unions [
          ../tests/all
          ../tests/fuzz
          ../tests/needs
          ../tests/nix
          ../tests/oracle
          ../tests/vm
        ]
      ))
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  buildType = "dist";
  checkType = "debug";

  nativeBuildInputs = [ installShellFiles ];

  # The integration tests start daemons, tors and namespaces, which a build sandbox does not have: checks.nix runs what can
  # be run there.
  cargoTestFlags = [ "--lib" ];

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/rustbalance manuals man >/dev/null
    installManPage man/*
    for shell in bash fish zsh; do
      $out/bin/rustbalance completions $shell >rustbalance.$shell
    done
    installShellCompletion rustbalance.{bash,fish,zsh}
  '';

  meta = {
    inherit (manifest.package) description;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "rustbalance";
    platforms = lib.platforms.linux;
  };
}
