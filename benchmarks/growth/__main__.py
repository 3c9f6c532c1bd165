"""Measures how time grows with a batch, from 1 KB to 4 GB, and whether memory grows with evaluations and connections.

Server and caller are on this machine. Run it with ``make bench-growth``.
"""

import argparse
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.growth import memory, times, watching
from benchmarks.growth.memory import MB
from benchmarks.growth.picture import save_picture
from benchmarks.growth.processes import AS_SHIPPED, GIVING_BACK
from benchmarks.growth.watching import CLIENT_BOUND, SERVER_BOUND, Growth, Watch
from losswire_server import launch

TRANSPORTS = ("auto", "stream", "shared_memory")
MALLOCS: dict[str, Mapping[str, str]] = {"as shipped": AS_SHIPPED, "malloc gives back": GIVING_BACK}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    powers: int  # sizes: 1 KB, 4 KB, ..., each 4 times the one before
    runs: int
    watches: tuple[Watch, ...]


FULL = Effort(
    powers=12,
    runs=times.MOST_RUNS,
    watches=(Watch("evaluations", 3000, 10_000, 500), Watch("connections", 200, 1000, 50)),
)
SMOKE = Effort(
    powers=7, runs=3, watches=(Watch("evaluations", 50, 100, 25), Watch("connections", 10, 20, 5))
)  # shows that it works, no more


def main() -> None:
    arguments = parse_arguments()
    effort = SMOKE if arguments.smoke else FULL
    console = Console(width=130)
    console.print(platform.processor() or platform.machine())
    if arguments.only != "memory":
        measure_times(console, effort, arguments.plot)
    if arguments.only != "times":
        measure_memory(console, effort)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("times", "memory"), help="one of the two (both)")
    parser.add_argument("--plot", type=Path, help="draws the times here, as in docs/growth.svg")
    parser.add_argument("--smoke", action="store_true", help="little of all: shows that it works, no more")
    return parser.parse_args()


def measure_times(console: Console, effort: Effort, plot: Path | None) -> None:
    sizes = [4**power * 2**10 for power in range(effort.powers)]
    with launch() as server:
        timings = times.measure(server.target, sizes, TRANSPORTS, effort.runs)
        held = memory.resident(server.pid).own if memory.supported() else None
    console.print(times_table(timings))
    for transport in times.SINGLE:
        if line := times.fit(timings, transport):
            console.print(f"{transport}, from 1 MB on: {told(line)}")
    if held is not None:
        console.print(f"The server has {held / MB:.0f} MB of its own after that.")
    if plot:
        save_picture(timings, plot)
        console.print(f"Picture: {plot}")


def told(line: times.Line) -> str:
    return (
        f"{line.offset * 1e3:.2f} ms + bytes / {1e-9 / line.slope:.2f} GB/s, "
        f"which no median differs from by more than {line.deviation:.0%}"
    )


def times_table(timings: list[times.Timing]) -> Table:
    headings = [f"{name},\n{unit}" for name in TRANSPORTS for unit in ("ms", "GB/s")]
    title = "float32 cross-entropy, medians of runs in turns"
    table = Table("MB", "shape", "runs", *headings, title=title, title_justify="left")
    for each in timings:
        cells = [cell for name in TRANSPORTS for cell in _cells(each, name)]
        table.add_row(f"{each.nbytes / MB:.4g}", "{} x {}".format(*each.shape), str(each.runs), *cells)
    return table


def _cells(timing: times.Timing, transport: str) -> tuple[str, str]:
    if transport not in timing.seconds:
        return "-", "-"
    seconds = timing.seconds[transport]
    return f"{seconds * 1e3:.2f}", f"{timing.nbytes / seconds / 1e9:.3f}"


def measure_memory(console: Console, effort: Effort) -> None:
    if not memory.supported():
        console.print("memory: not measured: there is no /proc here")
        return
    title = f"MB of their own, medians of {watching.AT_ENDS} samples at each end"
    headings = ("warm-up", "client", "grew by", "spread", "server", "grew by", "spread")
    table = Table("", *headings, title=title, title_justify="left")
    table.caption = f"Bounds: {CLIENT_BOUND / MB:.0f} MB in the client, {SERVER_BOUND / MB:.0f} in the server."
    for watch in effort.watches:
        for name, environment in MALLOCS.items():
            growth = watching.measure(watch, environment)
            table.add_row(f"{watch.calls} {watch.kind}, {name}", str(watch.warm_up), *_memory_cells(growth))
            console.print(f"{watch.kind}, {name}: {dict(growth.outcomes)}")
    console.print(table)


def _memory_cells(growth: Growth) -> list[str]:
    first = growth.samples[0]
    values = (
        *(first.client.own, growth.client, growth.client_spread),
        *(first.server.own, growth.server, growth.server_spread),
    )
    return [f"{value / MB:.2f}" for value in values]


if __name__ == "__main__":
    main()
