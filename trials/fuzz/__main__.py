"""Fuzzes the targets, one after the other, guided by the coverage of our Python code. Run it with ``make fuzz``.

Findings are written to out/fuzz/findings, and the inputs that reached something new to out/fuzz/corpus.
"""

import argparse
import os
import platform
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trials.fuzz import running
from trials.fuzz.findings import FindingError
from trials.fuzz.running import ROOT, Run
from trials.fuzz.targets import TARGETS


def main() -> None:
    arguments = parse_arguments()
    if arguments.replay:
        sys.exit(replay(arguments.targets, arguments.replay))
    if find_spec("atheris") is None:
        sys.exit("fuzz: atheris is not installed: make fuzz installs it, on Linux on x86-64")
    console = Console(width=130)
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, seed {arguments.seed}")
    runs = {name: fuzz(name, arguments.seconds, arguments.seed, console) for name in arguments.targets}
    console.print(table(runs, arguments.seconds))
    if arguments.minimise:
        for name in arguments.targets:
            console.print(f"{name}: {running.minimise(name)} inputs in the corpus")
    sys.exit(any(run.problem for run in runs.values()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=float, default=300.0, help="for each target (300)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of libFuzzer's random numbers (the time)")
    parser.add_argument(
        "--minimise", action="store_true", help="then puts the fewest inputs that reach all into the corpus"
    )
    parser.add_argument("--replay", type=Path, help="tries this one input, as of a finding, and nothing else")
    arguments = parser.parse_args()
    arguments.targets = arguments.targets or list(TARGETS)
    for name in arguments.targets:
        if name not in TARGETS:
            parser.error(f"expected any of {', '.join(TARGETS)}, got {name!r}")
    if arguments.replay and len(arguments.targets) != 1:
        parser.error("--replay: expected one target with it")
    return arguments


def replay(names: list[str], path: Path) -> int:
    """Tries one input; returns the exit status."""
    (name,) = names
    try:
        TARGETS[name].run(path.read_bytes())
    except FindingError as finding:
        print(f"{name}: {finding}")
        return 1
    print(f"{name}: no finding")
    return 0


def fuzz(name: str, seconds: float, seed: int, console: Console) -> Run:
    run = running.fuzz(name, seconds, seed)
    if run.problem:
        console.print(f"{name}: {run.problem}", style="red", markup=False)
    if run.finding:
        path = run.finding.relative_to(ROOT)
        console.print(f"  to reproduce: .venv/bin/python -m trials.fuzz {name} --replay {path}", markup=False)
    return run


def table(runs: dict[str, Run], seconds: float) -> Table:
    title = f"{seconds:.0f} s a target"
    shown = Table("target", "inputs", "edges", "features", "corpus", "findings", title=title, title_justify="left")
    for name, run in runs.items():
        numbers = (run.inputs, run.coverage, run.features, run.corpus, int(bool(run.problem)))
        shown.add_row(name, *(f"{number:,}" for number in numbers))
    return shown


if __name__ == "__main__":
    main()
