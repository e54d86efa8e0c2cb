"""What can go wrong, and whose fault it is."""

from __future__ import annotations


class Unavailable(Exception):
    """Virtual machines cannot be had on this computer: nothing was tested, and nothing is wrong with the project."""


class TestFailure(Exception):
    """A machine did not do what the script asked for."""


class MachineError(Exception):
    """A machine, its emulator or its shell is not there (any more), so nothing can be said about what was asked."""


class OutOfTime(Exception):
    """The test took longer than its limit in the catalogue."""
