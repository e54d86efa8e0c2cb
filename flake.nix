{
  description = "A self-healing, multi-node load balancer for Tor v3 onion services";

  # The first release whose Rust is the 1.95 that Cargo.toml asks for.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems = f: lib.genAttrs systems (system: f (pkgsFor system));
      pkgsFor = system: nixpkgs.legacyPackages.${system}.extend self.overlays.default;
      system =
        name: modules:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            { networking.hostName = name; }
          ]
          ++ modules;
        };
      appliance =
        kind: system:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            kind
            { nixpkgs.hostPlatform = system; }
          ];
        };
      disk = appliance ./nixos/image.nix;
      medium = appliance ./nixos/iso.nix;
    in
    {
      overlays.default = final: _: {
        rustbalance = final.callPackage ./nixos/package.nix { };
      };

      nixosModules.default = {
        imports = [ ./nixos/module.nix ];
        nixpkgs.overlays = [ self.overlays.default ];
      };

      nixosConfigurations = {
        alpha = system "alpha" [ ./nixos/examples/first-node.nix ];
        beta = system "beta" [ ./nixos/examples/joining-node.nix ];
        appliance = disk "x86_64-linux";
        medium = medium "x86_64-linux";
      };

      packages = forAllSystems (pkgs: {
        default = pkgs.rustbalance;
        inherit (pkgs) rustbalance;
        inherit ((disk pkgs.stdenv.hostPlatform.system).config.system.build) image;
        iso = (medium pkgs.stdenv.hostPlatform.system).config.system.build.isoImage;
        options = pkgs.callPackage ./nixos/options-documentation.nix { inherit nixpkgs; };
      });

      checks = forAllSystems (pkgs: import ./nixos/checks.nix { inherit self nixpkgs pkgs; });

      formatter = forAllSystems (pkgs: pkgs.nixfmt);

      devShells = forAllSystems (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ pkgs.rustbalance ];
          # What the tests start besides what they build.
          packages = with pkgs; [
            cargo
            clippy
            iproute2
            python3
            rustfmt
            strace
            tor
            wireguard-tools
          ];
        };
      });

      apps = forAllSystems (
        pkgs:
        let
          app = program: description: {
            type = "app";
            program = lib.getExe' pkgs.rustbalance program;
            meta = { inherit description; };
          };
        in
        {
          default = app "rustbalance" "The operator's tool";
          lab = app "rustbalance-lab" "A private Tor network, three nodes and clients, measured";
        }
      );
    };
}
