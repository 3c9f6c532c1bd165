"""Measures Losswire beside its peers: ways to get a batch to a server, and its loss and gradient back.

Server and caller are on this machine, each in a process of its own. Run it with ``make bench``, which measures
what is installed, or with ``make bench-peers``, which installs the peers first.
"""

import argparse
import platform
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.batch import Batch
from benchmarks.wire import measuring
from benchmarks.wire.line_up import LARGE, LOCAL, SET_UP, SMALL
from benchmarks.wire.picture import save_picture


@dataclass(frozen=True)
class Effort:
    """How much is measured: the shape of large batches, and the arguments of `measuring.small`."""

    shape: tuple[int, int]
    turns: int
    runs: int
    seconds: float


FULL = Effort((256, 32000), turns=5, runs=1000, seconds=2.0)
SMOKE = Effort((64, 100), turns=3, runs=20, seconds=0.1)


def main() -> None:
    arguments = parse_arguments()
    effort, runs = (SMOKE, 3) if arguments.smoke else (FULL, arguments.runs)
    console = Console(width=130)
    processor = platform.processor() or platform.machine()
    console.print(f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    batches = [Batch(*effort.shape, dtype, grad) for dtype, grad in product(("float32", "bfloat16"), (False, True))]
    seconds = measuring.large(LARGE, batches, runs)
    console.print(large_table(seconds, runs))
    if arguments.plot:
        save_picture(seconds, LARGE, arguments.plot)
        console.print(f"Picture: {arguments.plot}")
    console.print(small_table(measuring.small(SMALL, effort.turns, effort.runs, effort.seconds), effort))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement of large batches (%(default)s)")
    parser.add_argument("--plot", type=Path, help="draws the times of large batches here, as in docs/wire.svg")
    parser.add_argument("--smoke", action="store_true", help="a few runs of small shapes: shows that it works, no more")
    return parser.parse_args()


def large_table(seconds: dict[Batch, dict[str, float]], runs: int) -> Table:
    first = next(iter(seconds))
    title = f"{first.rows} x {first.classes}, milliseconds (beside {LOCAL}), medians of {runs} runs in turns"
    headings = [f"{batch.dtype}\n{'forward + gradient' if batch.grad else 'forward'}" for batch in seconds]
    table = Table("", *headings, title=title, title_justify="left")
    for name in LARGE:
        table.add_row(name, *(_cell(times, name) for times in seconds.values()))
    if not all(way.installed for way in LARGE.values()):
        table.caption = SET_UP
    return table


def _cell(times: dict[str, float], name: str) -> str:
    return f"{times[name] * 1e3:.2f} ({times[name] / times[LOCAL]:.1f})" if name in times else "not measured"


def small_table(measured: dict[str, measuring.Small], effort: Effort) -> Table:
    title = f"{measuring.SMALL_BATCH}, medians of {effort.turns} turns: {effort.runs} runs, {effort.seconds:g} s"
    headings = ("p50, us", "p99, us", f"{measuring.CALLERS} in flight, evaluations/s")
    table = Table("", *headings, title=title, title_justify="left")
    for name in SMALL:
        if name in measured:
            each = measured[name]
            table.add_row(name, f"{each.p50 * 1e6:.0f}", f"{each.p99 * 1e6:.0f}", f"{each.rate:.0f}")
        else:
            table.add_row(name, *["not measured"] * len(headings))
    return table


if __name__ == "__main__":
    main()
