"""Measures keyed evaluations beside unkeyed ones, and a run of a million keys. Run: ``make bench-runs``.

Both kinds of evaluations go to one server in a process of its own on this machine, and take turns in one run.
"""

import argparse
from collections.abc import Sequence

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.runs import keys, rates
from benchmarks.runs.stores import STORES
from losswire_server import launch

CASES = [
    rates.Case(32, 10, 32, 4000),
    rates.Case(32, 10, 1, 500),
    rates.Case(256, 1000, 32, 500),
    rates.Case(256, 1000, 1, 200),
]
SMOKE = [rates.Case(32, 10, 8, 64)]
HEADINGS = ("store", "batch", "in flight", "unkeyed, /s", "keyed, /s", "ratio, median of turns", "least", "most")


def main() -> None:
    arguments = parse_arguments()
    cases, turns, count = (SMOKE, 2, 5000) if arguments.smoke else (CASES, arguments.turns, arguments.keys)
    console = Console(width=130)
    console.print(compared(arguments.store, cases, turns))
    if count:
        console.print(counted(arguments.store, count))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", nargs="+", choices=STORES, default=list(STORES), help="which databases (all)")
    parser.add_argument("--turns", type=int, default=7, help="of each kind (7)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="of the large run; 0 for none (1000000)")
    parser.add_argument("--smoke", action="store_true", help="little of all: shows that it works, no more")
    return parser.parse_args()


def compared(names: Sequence[str], cases: Sequence[rates.Case], turns: int) -> Table:
    """Evaluations with keys and without."""
    table = Table(*HEADINGS, title=f"float32, medians of {turns} turns", title_justify="left")
    for name in names:
        with STORES[name]() as store, launch(runs=store.place, access_log_per_second=0) as server:
            for case in cases:
                found = uvloop.run(rates.compare(server.target, case, turns))
                what = store.name, f"{case.rows} x {case.classes}", str(case.in_flight)
                table.add_row(*what, *rates.row(found))
    return table


def counted(names: Sequence[str], count: int) -> Table:
    """A run of many keys."""
    table = Table("store", "what", "")
    for name in names:
        with STORES[name]() as store:
            for row in keys.rows(store.name, count, keys.measure(store, count)):
                table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
