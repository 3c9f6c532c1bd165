"""Measures Losswire beside its peers: ways to get a batch to a server, and its loss and gradient back.

Server and caller are on this machine, each in a process of its own. Run it with ``make bench``, which measures what
is there, or with ``make bench-peers``, which installs the peers before.
"""

import argparse
import platform
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.batch import Batch
from benchmarks.wire import measuring
from benchmarks.wire.line_up import LARGE, LOCAL, SET_UP, SMALL
from benchmarks.wire.picture import save_picture

SHAPE, SMOKE_SHAPE = (256, 32000), (64, 100)
SMALL_TURNS, SMALL_RUNS, SMALL_SECONDS = 5, 1000, 2.0
SMOKE_TURNS, SMOKE_SMALL_RUNS, SMOKE_SECONDS = 3, 20, 0.1


def main() -> None:
    arguments = parse_arguments()
    shape, runs = (SMOKE_SHAPE, 3) if arguments.smoke else (SHAPE, arguments.runs)
    console = Console(width=130)
    processor = platform.processor() or platform.machine()
    console.print(f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    batches = [Batch(*shape, dtype, grad) for dtype, grad in product(("float32", "bfloat16"), (False, True))]
    seconds = measuring.large(LARGE, batches, runs)
    console.print(large_table(seconds, f"{shape[0]} x {shape[1]}, milliseconds (beside {LOCAL}), medians of {runs} runs"))
    if arguments.plot:
        save_picture(seconds, LARGE, arguments.plot)
        console.print(f"Picture: {arguments.plot}")
    small = (SMOKE_TURNS, SMOKE_SMALL_RUNS, SMOKE_SECONDS) if arguments.smoke else (SMALL_TURNS, SMALL_RUNS, SMALL_SECONDS)
    console.print(small_table(measuring.small(SMALL, *small), *small))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement of large batches (%(default)s)")
    parser.add_argument("--plot", type=Path, help="draws the times of large batches here, as in docs/wire.svg")
    parser.add_argument("--smoke", action="store_true", help="a few runs of small shapes: shows that it works, no more")
    return parser.parse_args()


def large_table(seconds: dict[Batch, dict[str, float]], title: str) -> Table:
    headings = [f"{batch.dtype}\n{'forward + gradient' if batch.grad else 'forward'}" for batch in seconds]
    table = Table("", *headings, title=title, title_justify="left")
    for name, way in LARGE.items():
        cells = [_cell(times, name) for times in seconds.values()]
        table.add_row(name, *(cells if way.installed else [SET_UP]))
    return table


def _cell(times: dict[str, float], name: str) -> str:
    return f"{times[name] * 1e3:.2f} ({times[name] / times[LOCAL]:.1f})" if name in times else "not measured"


def small_table(measured: dict[str, measuring.Small], turns: int, runs: int, seconds: float) -> Table:
    title = f"{measuring.SMALL_BATCH}, medians of {turns} turns of {runs} runs and {seconds:g} seconds"
    headings = ("p50, us", "p99, us", f"{measuring.CALLERS} in flight, evaluations/s")
    table = Table("", *headings, title=title, title_justify="left")
    for name, way in SMALL.items():
        if name in measured:
            each = measured[name]
            table.add_row(name, f"{each.p50 * 1e6:.0f}", f"{each.p99 * 1e6:.0f}", f"{each.rate:.0f}")
        else:
            table.add_row(name, "not measured" if way.installed else SET_UP)
    return table


if __name__ == "__main__":
    main()
