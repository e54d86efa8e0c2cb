"""One measurement: a load on one proxy, and what that cost the proxy."""

import os
import pathlib
import re
import statistics
import subprocess
import typing

from .programs import PUBLIC, Program

TICKS = os.sysconf("SC_CLK_TCK")
#: Seconds in the units that wrk shows.
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Measured(typing.NamedTuple):
    """What came of it."""

    per_second: float
    #: Of the time to the response's end.
    p99_ms: float
    #: Processor time of the proxy.
    cpu_us: float
    rss_mib: float
    #: Requests without a good response.
    failed: int

    def __str__(self) -> str:
        return (
            f"{self.per_second:.0f}/s, p99 {self.p99_ms:.1f} ms, {self.cpu_us:.1f} µs of processor time each,"
            f" {self.rss_mib:.0f} MiB, {self.failed} failed"
        )

    @staticmethod
    def median(rounds: list["Measured"]) -> "Measured":
        values = [statistics.median(column) for column in zip(*rounds)]
        return Measured(*values[:-1], failed=sum(measured.failed for measured in rounds))


def measure(proxy: Program, path: str, connections: int, seconds: int) -> Measured:
    before = cpu_seconds(proxy)
    load = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    load += ["--timeout", "30s", "--latency", "--header", f"Host: {PUBLIC}", f"http://127.0.0.1:{proxy.port}{path}"]
    said = subprocess.run(load, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(proxy) - before
    requests = int(found(r"(\d+) requests in", said)[0])
    if requests == 0:
        raise SystemExit(f"no request was answered:\n{said}")
    value, unit = found(r"99%\s+([\d.]+)([a-z]+)", said)
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Measured(
        per_second=float(found(r"Requests/sec:\s+([\d.]+)", said)[0]),
        p99_ms=float(value) * UNITS[unit] * 1e3,
        cpu_us=used / requests * 1e6,
        rss_mib=sum(map(rss_mib, proxy.pids())),
        failed=failed + (int(other[1]) if other else 0),
    )


def found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk says something else than expected:\n{text}")
    return match.groups()


def cpu_seconds(proxy: Program) -> float:
    total = 0
    for pid in proxy.pids():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mib(pid: int) -> float:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(found(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024
