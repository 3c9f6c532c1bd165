"""Evaluates a classifier of handwritten digits by three worker processes, one of which is killed, like the server.

The workers evaluate parts of the held-out rows, of different sizes, under keys of a run. Some parts are evaluated by
two workers. In the middle one worker gets SIGKILL, and later starts again with all of its keys. The server gets SIGKILL
too, and another one starts with its file. At the end the run has exactly the expected keys, and the mean that PyTorch
has of all rows at once. A second run, with other parts, in another order and by another transport, has the same bits.

Run it with ``make demo-runs``. It exits with 1 if a check fails; all of them are printed.
"""

# Modules that only the main process needs (torch, the server, scikit-learn) are imported where they are used, because
# every process that multiprocessing spawns imports this file too.
import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

from accidents import NAMES, VICTIM, Accidents, Outcome
from comparison import TOLERANCE, Means, correct_sum, has_same_bits, keys_of, repeated
from fleet import Work, fleet
from report import bits_table, means_table, result_table, show_checks
from rich.console import Console
from service import Service
from validation import Part, Rows, evaluated_rows, parts_of

from losswire_client import Client, Retry, Run, RunResult

LEAST_PARTS = 18  # so that there is a middle to be killed in
RETRY = Retry(seconds=120)  # while the server starts, on a busy machine too


def main() -> None:
    arguments = parse_arguments()
    console = Console()
    rows = evaluated_rows()
    console.print(f"Three workers evaluate a classifier on {len(rows.target)} handwritten digits.")
    with TemporaryDirectory() as name, Service(Path(name) / "runs.db") as service:
        rows.save(Path(name))
        checks = compare(rows, arguments, Path(name), service, console)
    show_checks(checks, console)
    if failed := [text for text, holds in checks.items() if not holds]:
        sys.exit(f"Not so: {'; '.join(failed)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=30, help=f"of the rows, {LEAST_PARTS} at least (%(default)s)")
    help_text = "seconds before each part, in place of the time that a large model takes (%(default)s)"
    parser.add_argument("--pause", type=float, default=0.1, help=help_text)
    arguments = parser.parse_args()
    if arguments.parts < LEAST_PARTS:
        parser.error(f"--parts: expected {LEAST_PARTS} at least")
    return arguments


def compare(
    rows: Rows, arguments: argparse.Namespace, folder: Path, service: Service, console: Console
) -> dict[str, bool]:
    """Evaluates the rows in two runs, prints what they come to, and says what holds."""
    tell = partial(console.print, highlight=False)
    parts = parts_of(rows, arguments.parts, seed=1)
    with Client(service.target, timeout=150, retry=RETRY) as client:
        run = client.run("with-accidents", by_class=True)
        with fleet(Work(run, folder, arguments.pause)) as workers:
            outcome = Accidents(run, workers, service, tell).evaluate(parts)
        first = run.finish([part.key for part in parts])
        second = evaluate_otherwise(rows, arguments, folder, service.target)
        means = Means.of(rows, run, outcome.answers)
        console.print(result_table(first), means_table(means), bits_table(first, second))
        tell(f"Keys that came again, and count once: {', '.join(repeated(outcome.answers))}")
        return checks(rows, run, outcome, parts, means, second, correct_sum(rows, client))


def evaluate_otherwise(rows: Rows, arguments: argparse.Namespace, folder: Path, target: str) -> RunResult:
    """Evaluates the rows again: as other parts, from the last one to the first one, and by another transport."""
    parts = parts_of(rows, arguments.parts * 2, seed=2)[::-1]
    with Client(target, transport="stream") as client:
        run = client.run("with-other-parts", by_class=True)
        with fleet(Work(run, folder, pause=0.0)) as workers:
            for number, name in enumerate(NAMES):
                workers.start(name, parts[number :: len(NAMES)])
            for _ in workers.answers():
                pass
        return run.finish([part.key for part in parts])


def checks(
    rows: Rows, run: Run, outcome: Outcome, parts: Sequence[Part], means: Means, second: RunResult, total: float
) -> dict[str, bool]:
    """What must hold, and whether it does."""
    result = run.result()
    return {
        f"worker {VICTIM} was killed before it was done, and so the run could not be finished": bool(outcome.missing),
        "the server died by SIGKILL": outcome.server_died_by == SIGKILL,
        "no key that was acknowledged before was lost": outcome.lost == [],
        "workers sent keys again": bool(repeated(outcome.answers)),
        "the run has exactly the expected keys": keys_of(run) == sorted(part.key for part in parts),
        "each row counts once": result.row_count == len(rows.target),
        "the sum of the losses is that of all rows, rounded once": result.loss_sum == total,
        f"the mean is PyTorch's, to {TOLERANCE:.0e}": abs(means.run - means.float64) <= TOLERANCE,
        "other parts, another order and another transport give the same bits": has_same_bits(result, second),
    }


if __name__ == "__main__":
    main()
