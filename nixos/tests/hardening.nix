# The node under hardening.py: that of single.nix.
import ./single.nix
