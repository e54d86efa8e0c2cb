# The node under reboot.py: that of single.nix.
import ./single.nix
