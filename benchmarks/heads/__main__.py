"""Measures losses of hidden states: by the engine beside PyTorch, and by the service beside logits that travel.

Links of 1 and 10 Gbit/s are network namespaces, which Linux allows root alone. Run it with ``make bench-heads``.
"""

import argparse
from collections.abc import Iterator

from rich.console import Console, RenderableType

from benchmarks.engine import heading
from benchmarks.heads.case import Case
from benchmarks.heads.local import DTYPES, SHAPES, SMOKE_SHAPES, cases, local_table
from benchmarks.heads.memory import memory_line
from benchmarks.heads.service import service_tables

PARTS = ("local", "service", "memory")
SHAPE, SMOKE_SHAPE = (1024, 1024, 32000), (20, 32, 100)
SMOKE_MEMORY_SHAPE = (20, 512, 1000)  # of which a server has no memory left from its start
MEMORY_ROWS = 8192


def main() -> None:
    arguments = parse_arguments()
    console = Console(width=160)
    console.print(heading())
    for shown in results(arguments.part or PARTS, 2 if arguments.smoke else arguments.runs, smoke=arguments.smoke):
        console.print(shown)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="of each measurement (%(default)s)")
    parser.add_argument("--part", choices=PARTS, action="append", help="to measure; may be repeated (all)")
    parser.add_argument("--smoke", action="store_true", help="a few runs of small shapes: shows that it works, no more")
    return parser.parse_args()


def results(parts: tuple[str, ...], runs: int, *, smoke: bool) -> Iterator[RenderableType]:
    shape, dtypes = (SMOKE_SHAPE, DTYPES[:1]) if smoke else (SHAPE, DTYPES)
    if "local" in parts:
        yield local_table(cases(SMOKE_SHAPES if smoke else SHAPES, dtypes), runs)
    if "service" in parts:
        yield from service_tables([Case(*shape, dtype, grad) for dtype in dtypes for grad in (False, True)], runs)
    if "memory" in parts:
        _, width, classes = SMOKE_MEMORY_SHAPE if smoke else shape
        for dtype in dtypes:
            yield memory_line(Case(MEMORY_ROWS, width, classes, dtype, grad=True))


if __name__ == "__main__":
    main()
