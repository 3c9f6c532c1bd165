"""Measures one caller of 32 x 10 beside many callers of large batches. Run it with ``make bench-fairness``.

The server, the small caller and the large ones each have a process of their own on this machine. The small caller is
measured alone and beside the others, in turns in one run.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.fairness.processes import Callers, calling
from losswire_server import launch

TRANSPORTS = "unary", "stream", "shared_memory"
SMALL = 32, 10
LARGE = 128, 32768  # 16 MiB
SMOKE = 16, 1024
SETTLE_SECONDS = 1.0  # until all large callers wait for answers
HEADINGS = (
    "turn",
    "alone, calls",
    "p50, ms",
    "p99, ms",
    "beside, calls",
    "p50, ms",
    "p99, ms",
    "ratio",
    "large calls/s",
)


class Turn(NamedTuple):
    """Seconds of the small caller's calls, and how many calls the large ones made a second."""

    alone: list[float]
    beside: list[float]
    large_rate: float


def main() -> None:
    arguments = parse_arguments()
    shape = SMOKE if arguments.smoke else LARGE
    settings = dict(setting.split("=", 1) for setting in arguments.setting)
    with ExitStack() as stack:
        server = stack.enter_context(launch(**settings))
        small = stack.enter_context(calling(server.target, 1, SMALL, "unary"))
        large = stack.enter_context(calling(server.target, arguments.callers, shape, arguments.transport))
        if arguments.smoke:
            turns = [measure(small, large, 1.0)]
        else:
            turns = [measure(small, large, arguments.seconds) for _ in range(arguments.turns)]
    title = f"32 x 10 alone, and beside {arguments.callers} of {shape[0]} x {shape[1]} ({arguments.transport})"
    Console(width=130).print(table(turns, title))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=32, help="of large batches (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half of a turn (%(default)s)")
    parser.add_argument(
        "--transport",
        choices=("unary", "stream", "shared_memory"),
        default="stream",
        help="of large batches (%(default)s)",
    )
    parser.add_argument("--setting", action="append", default=[], help="of the server, as in engine_workers=1")
    parser.add_argument("--smoke", action="store_true", help="little of all: shows that it works, no more")
    return parser.parse_args()


def measure(small: Callers, large: Callers, seconds: float) -> Turn:
    small.begin(seconds)
    alone = small.end()
    large.begin(seconds + 2 * SETTLE_SECONDS)
    time.sleep(SETTLE_SECONDS)
    small.begin(seconds)
    beside = small.end()
    return Turn(alone, beside, len(large.end()) / (seconds + 2 * SETTLE_SECONDS))


def table(turns: Sequence[Turn], title: str) -> Table:
    table = Table(*HEADINGS, title=title, title_justify="left")
    for number, turn in enumerate(turns, 1):
        table.add_row(str(number), *row(turn))
    alone, beside, rates = zip(*turns, strict=True)
    table.add_row("all", *row(Turn(list(chain(*alone)), list(chain(*beside)), statistics.mean(rates))))
    return table


def row(turn: Turn) -> list[str]:
    alone, beside = (milliseconds(seconds) for seconds in (turn.alone, turn.beside))
    cells = [f"{cell:.2f}" for times in (alone, beside) for cell in times]
    ratio = f"{beside[1] / alone[1]:.1f}"
    return [str(len(turn.alone)), *cells[:2], str(len(turn.beside)), *cells[2:], ratio, f"{turn.large_rate:.1f}"]


def milliseconds(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return float(p50), float(p99)


if __name__ == "__main__":
    main()
