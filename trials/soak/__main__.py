"""Soaks a server in calls of all kinds, whose answers are all checked, and tells what grows. Run it with ``make soak``.

The exit status is 1 if an answer was wrong, a call failed that should not, something stayed in use, or a process grew.
"""

import argparse
import os
import platform
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks.growth import memory
from trials.soak.plan import Plan
from trials.soak.soak import LEASES, Outcome, soak
from trials.watching import Held

MB = memory.MB


def main() -> None:
    arguments = parse_arguments()
    if not memory.supported():
        sys.exit("soak: there is no /proc here, from which memory is read")
    console, plan = Console(width=130), Plan.of(arguments.minutes)
    processor = platform.processor() or platform.machine()
    console.print(
        f"{processor}, {os.cpu_count()} cores; {plan.rounds} rounds of {plan.seconds:.0f} s, seed {arguments.seed}"
    )
    outcome = soak(plan, arguments.seed, lambda *sample: console.print(line(*sample), highlight=False))
    console.print(ends_table(outcome))
    console.print(held_table(outcome))
    console.print(growth_table(outcome))
    problems = outcome.all_problems()
    console.print("\n".join(problems) or "nothing wrong, no growth", markup=False)
    sys.exit(bool(problems))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, without the quiet moments (10)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the calls (the time)")
    return parser.parse_args()


def line(number: int, server: Held, callers: list[Held]) -> str:
    """What the processes hold in the quiet after a round."""
    told = ", ".join(f"{caller.memory / MB:.1f}" for caller in callers)
    return (
        f"round {number}: server {server.memory / MB:.1f} MB, {server.descriptors} descriptors, "
        f"{server.regions} of regions, {server.threads} threads, "
        f"{server.in_use.get(LEASES, 0) / MB:.1f} MB leased; callers {told} MB"
    )


def ends_table(outcome: Outcome) -> Table:
    table = Table("calls", "ended", "how many", title="how calls ended", title_justify="left")
    for name, count in sorted(outcome.ends.items()):
        kind, _, end = name.partition(": ")
        table.add_row(kind, end, f"{count:,}")
    return table


def held_table(outcome: Outcome) -> Table:
    """The server that is served in the last way, before its first call, and the last one once all callers had left."""
    title = "the last server, before its first call and after the last"
    table = Table(
        "", "MB", "descriptors", "of regions", "threads", "leased", "in flight", title=title, title_justify="left"
    )
    for name, sample in (("before", outcome.before), ("after", outcome.after)):
        if sample is not None:
            in_use = [f"{sample.in_use.get(metric, 0):.0f}" for metric in (LEASES, "losswire_inflight_bytes")]
            counts = [str(count) for count in (sample.descriptors, sample.regions, sample.threads)]
            table.add_row(name, f"{sample.memory / MB:.1f}", *counts, *in_use)
    return table


def growth_table(outcome: Outcome) -> Table:
    title = "medians of the first third of a process's samples, and how much more those of the last third are"
    table = Table("process", "of", "first", "grew by", "spread", "may grow by", title=title, title_justify="left")
    for name, growth in outcome.growths():
        unit = MB if growth.name == "memory" else 1.0
        numbers = (growth.first, growth.grown, growth.spread, growth.bound)
        table.add_row(name, growth.name, *(f"{number / unit:.1f}" for number in numbers))
    return table


if __name__ == "__main__":
    main()
