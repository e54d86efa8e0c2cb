"""Virtual machines for tests: Debian guests under QEMU, driven by the scripts in `nixos/tests`.

A script sees the names that the NixOS test driver gives it (machines by name, `start_all`, `subtest`) with the same
calls and the same meaning, so that one script serves `nix flake check` and this harness. What differs is only how
a machine comes to be: there by the NixOS module, here by Debian's packages and what the README tells a Debian user.

The modules, each standing on those before it:

errors      what can go wrong, and whose fault it is
images      the kernel, the emulator and the root image, made from Debian's packages and kept in a cache
network     who has which address on which virtual network
shell       commands and their results over a guest's console
monitor     orders to a running emulator
emulator    one emulator's command line and process
calls       what a script may ask of a machine, as far as a shell can answer
machine     a machine's life: start, crash, reboot, cables pulled
catalogue   which test wants which machines, and what is laid into them
driver      runs one script against its machines, and tells what they said when it fails
"""
