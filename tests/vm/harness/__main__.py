"""The command line: `tests/vm/run`."""

from __future__ import annotations

import argparse
import sys
import time

from .catalogue import TESTS
from .driver import run
from .errors import Unavailable
from .images import images

#: sysexits' EX_UNAVAILABLE: machines cannot be had here.
EXIT_UNAVAILABLE = 69


def main() -> int:
    """Runs what was asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="tests/vm/run", description="Runs tests in virtual machines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="tests to run; without a name, all")
    parser.add_argument("--list", action="store_true", help="tell what there is")
    parser.add_argument("--prepare", action="store_true", help="only make the images")
    parser.add_argument("--fresh", action="store_true", help="make the images again, of the packages of today")
    parser.add_argument("--keep-disks", action="store_true", help="leave the machines' disks in target/vm")
    wanted = parser.parse_args()
    if wanted.list:
        for name, test in TESTS.items():
            print(f"{name:10} {test.about}")
        return 0
    if unknown := [name for name in wanted.names if name not in TESTS]:
        parser.error(f"there is no test {', '.join(unknown)}; --list tells what there is")
    try:
        made = images(wanted.fresh)
    except Unavailable as reason:
        print(reason)
        return EXIT_UNAVAILABLE
    if wanted.prepare:
        return 0
    failed = []
    chosen = wanted.names or list(TESTS)
    for name in chosen:
        print(f"\n==> {name}: {TESTS[name].about}", flush=True)
        start = time.monotonic()
        passed = run(name, TESTS[name], made, wanted.keep_disks)
        print(f"<== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
        if not passed:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(f"machines: {len(chosen) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
