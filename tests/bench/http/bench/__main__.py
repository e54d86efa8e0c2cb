"""Starts the target and the proxies, measures each in turn, and writes what came of it."""

import argparse
import json
import pathlib
import tempfile

from . import report
from .measure import Measured, measure
from .programs import PROXIES, Program, check, target

#: Connections that stay open, each with one request at a time.
CONNECTIONS = [1, 64, 1000]
#: What is asked for, and how long it is.
BODIES = {"1 KiB": 1 << 10, "1 MiB": 1 << 20}
#: Every setting is measured so often, the proxies in turn: a moment of other work does not fall on one of them alone.
ROUNDS = 3
OUT = pathlib.Path("target/bench-http")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, type=pathlib.Path, help="our proxy, as packages ship it")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    return parser.parse_args()


def main() -> None:
    said = arguments()
    results: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        served = target(pathlib.Path(folder), BODIES)
        proxies = {name: start(pathlib.Path(folder), said.program) for name, start in PROXIES.items()}
        try:
            for name, proxy in proxies.items():
                check(name, proxy)
            for body in BODIES:
                for connections in CONNECTIONS:
                    results.append(setting(proxies, body, connections, said.seconds))
        finally:
            for program in [*proxies.values(), served]:
                program.stop()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (OUT / "table.md").write_text(report.table(results))
    (OUT / "plot.svg").write_text(report.plot(results))
    print(f"\n{report.table(results)}\nwritten: {OUT}/table.md, plot.svg, results.json")


def setting(proxies: dict[str, Program], body: str, connections: int, seconds: int) -> dict:
    """One row: all proxies, several rounds, of each the median."""
    rounds: dict[str, list[Measured]] = {name: [] for name in proxies}
    for _ in range(ROUNDS):
        for name, proxy in proxies.items():
            measured = measure(proxy, f"/{BODIES[body]}", connections, seconds)
            rounds[name].append(measured)
            print(f"{body}, {connections} connections, {name}: {measured}", flush=True)
    return {
        "body": body,
        "connections": connections,
        **{name: Measured.median(all_of_it)._asdict() for name, all_of_it in rounds.items()},
    }


main()
