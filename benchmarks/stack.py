"""Measures how much of a processor evaluations take in a server, and in Envoy in front of two: for sizing.

Processor time, unlike rates, hardly depends on what else the machine does. The callers are those of ``losswire bench``
in a process of their own, on the same machine. Run it with ``make bench-stack``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from deploy.stack.ports import HOST, Ports
from deploy.stack.running import running

CASES = [  # shape, callers, gradient, transport; shared memory leads through no proxy
    ("32x10", 32, False, "unary"),
    ("256x32000", 4, False, "stream"),
    ("256x32000", 4, True, "stream"),
    ("256x32000", 4, False, "shared_memory"),
    ("256x32000", 4, True, "shared_memory"),
]
SMOKE = [("32x10", 2, False, "unary")]
MB = 1e6
FLOAT_BYTES = 4
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Used:
    """What has been used so far: evaluations, and seconds of a processor in the servers and in Envoy."""

    evaluations: float
    servers: float
    envoy: float

    def since(self, before: "Used") -> "Used":
        """What was used since."""
        return Used(self.evaluations - before.evaluations, self.servers - before.servers, self.envoy - before.envoy)


def main() -> None:
    """Measures each case by Envoy and at one server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="one short case, to see that it works")
    given = parser.parse_args()
    console = Console(width=120)
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    table = Table("batch", "gradient", "transport", "called", "evaluations/s", "server ms", "Envoy ms", "MB/s a core")
    with running(any_free=True) as (ports, _):
        for shape, callers, grad, transport in SMOKE if given.smoke else CASES:
            for way in ("server", "envoy")[: 1 if transport == "shared_memory" else 2]:
                seconds = 1.0 if given.smoke else given.seconds
                table.add_row(*measured(ports, way, shape, callers, transport, seconds, grad=grad))
    console.print(table)


def measured(
    ports: Ports, way: str, shape: str, callers: int, transport: str, seconds: float, *, grad: bool
) -> list[str]:
    """A row of the table; milliseconds are those of a processor for an evaluation."""
    before = used(ports)
    command = [sys.executable, "-m", "losswire_client.cli", "bench", "--target", f"{HOST}:{ports[way, 50051][0]}"]
    command += ["--shape", shape, "--concurrency", str(callers), "--seconds", str(seconds), "--transport", transport]
    command += ["--json", *(["--grad"] if grad else [])]
    (case,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["cases"]
    spent = used(ports).since(before)
    rows, classes = map(int, shape.split("x"))
    megabytes = rows * classes * FLOAT_BYTES / MB * (2 if grad else 1)
    return [
        *(shape, "yes" if grad else "no", transport, "Envoy" if way == "envoy" else "the server"),
        f"{case['evaluations_per_second']:,.0f}",
        f"{spent.servers / spent.evaluations * 1e3:.2f}",
        f"{spent.envoy / spent.evaluations * 1e3:.2f}" if way == "envoy" else "",
        f"{megabytes * spent.evaluations / spent.servers:,.0f}",
    ]


def used(ports: Ports) -> Used:
    """What all servers and Envoy have used so far."""
    evaluations = servers = 0.0
    for port in ports["server", 9464]:
        text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics").read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "process_cpu_seconds_total":
                    servers += sample.value
                if sample.name == "grpc_server_handled_total" and "Evaluate" in sample.labels["grpc_method"]:
                    evaluations += sample.value
    return Used(evaluations, servers, sum(seconds(process) for process in children() if is_envoy(process)))


def children() -> Iterator[Path]:
    """The processes that this one has started."""
    for thread in Path("/proc/self/task").iterdir():
        yield from (Path("/proc") / pid for pid in (thread / "children").read_text().split())


def is_envoy(process: Path) -> bool:
    """Whether it is, or runs, Envoy."""
    return b"envoy.yaml" in (process / "cmdline").read_bytes()


def seconds(process: Path) -> float:
    """Seconds of a processor that it has used."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
