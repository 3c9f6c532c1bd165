"""Attacks a server at its socket, beside a caller whose every answer is checked. Run it with ``make fuzz-socket``.

The exit status is 1 if an answer was wrong, a call of that caller failed, or the server did not get over an attack.
"""

import argparse
import os
import platform
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from trials.peers.attacks import ATTACKS
from trials.peers.trial import Ended, run


def main() -> None:
    arguments = parse_arguments()
    console = Console(width=130)
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, seed {arguments.seed}")
    ended = []
    chosen = [ATTACKS[name] for name in arguments.attacks]
    for each in run(chosen, arguments.seconds, arguments.share, arguments.seed):
        ended.append(each)
        console.print(f"{each.name}: {'; '.join(each.problems) or 'nothing wrong'}", markup=False)
    console.print(table(ended, arguments.seconds))
    sys.exit(any(each.problems for each in ended))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"any of {', '.join(ATTACKS)} (all)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack (20)")
    parser.add_argument("--share", type=float, default=1.0, help="of each attack's numbers and bytes (1.0)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the attacks' random numbers (the time)")
    arguments = parser.parse_args()
    arguments.attacks = arguments.attacks or list(ATTACKS)
    for name in arguments.attacks:
        if name not in ATTACKS:
            parser.error(f"expected any of {', '.join(ATTACKS)}, got {name!r}")
    return arguments


def table(ended: list[Ended], seconds: float) -> Table:
    title = f"{seconds:.0f} s an attack; the calls are the well-behaved caller's"
    headings = ("tries", "calls", "p50, ms", "p99, ms", "longest, ms", "server's peak, + MB", "lines", "problems")
    shown = Table("attack", *headings, title=title, title_justify="left")
    for each in ended:
        p50, p99, longest = np.percentile(each.seconds, (50, 99, 100)) * 1e3 if each.seconds else (0, 0, 0)
        times = [f"{value:.1f}" for value in (p50, p99, longest)]
        row = (f"{each.tries:,}", f"{len(each.seconds):,}", *times, f"{each.peak / 1e6:.0f}")
        row += (f"{each.lines:,}", str(len(each.problems)))
        shown.add_row(each.name, *row)
    return shown


if __name__ == "__main__":
    main()
