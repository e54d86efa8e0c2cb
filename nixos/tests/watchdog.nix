# The node under watchdog.py: that of single.nix.
import ./single.nix
