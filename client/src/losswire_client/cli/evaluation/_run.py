"""Files in, what their rows add up to out."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from losswire_client import Client, InvalidArgumentError, LosswireError, Result
from losswire_client.cli._failures import CommandError, ExitCode, exit_code
from losswire_client.cli.evaluation._batches import batches, class_count
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._tallies import Tallies
from losswire_client.cli.readers import Array, Batch, Dataset, FileError, open_dataset

WINDOW = 4  # evaluations at a time: one is read, one on its way, one computed, one on its way back

Advance = Callable[[Dataset, int], None]  # is told how many more rows of a file are on their way


@dataclass
class Outcome:
    """What became of the files.

    Attributes:
        files: What each of them adds up to.
        failures: Why others do not.
        total: Of all files; None if one failed.
    """

    files: list[tuple[Path, Tallies]] = field(default_factory=list)
    failures: list[tuple[Path, CommandError]] = field(default_factory=list)
    total: Tallies | None = None

    @property
    def exit_code(self) -> ExitCode:
        return max((error.code for _, error in self.failures), default=ExitCode.OK)


def evaluate_files(client: Client, paths: Sequence[Path], plan: Plan, advance: Advance) -> Outcome:
    """Evaluates one file after the other. One that fails does not stop the others, but a server that is away does."""
    outcome, total = Outcome(), None
    for path in paths:
        try:
            with closing(open_dataset(path, plan.input_name, plan.target_name)) as dataset:
                total = total or Tallies.of(plan, class_count(dataset, plan))
                outcome.files.append((path, _evaluate(client, dataset, plan, total, advance)))
        except CommandError as error:
            outcome.failures.append((path, error))
            if error.code is ExitCode.UNREACHABLE:
                break
    outcome.total = None if outcome.failures else total
    return outcome


def _evaluate(client: Client, dataset: Dataset, plan: Plan, total: Tallies, advance: Advance) -> Tallies:
    tallies = Tallies.of(plan, class_count(dataset, plan))
    if plan.per_class:
        _check_classes(dataset, tallies.class_count, total.class_count)
    start = time.perf_counter()
    for target, result in _results(client, dataset, plan, advance):
        tallies.add(target, result)
        total.add(target, result)
    tallies.seconds = time.perf_counter() - start
    total.seconds += tallies.seconds
    return tallies


def _check_classes(dataset: Dataset, count: int, others: int) -> None:
    if not dataset.has_class_indices:
        raise FileError(dataset.path, "only class indices can be added up by class")
    if count != others:
        raise FileError(dataset.path, f"has {count} classes, and others have {others}")


def _results(client: Client, dataset: Dataset, plan: Plan, advance: Advance) -> Iterator[tuple[Array, Result]]:
    """The results of the rows, and their targets."""
    targets: deque[Array] = deque()

    def sent() -> Iterator[Batch]:
        for batch in batches(dataset, plan):
            targets.append(batch.target)
            yield batch
            advance(dataset, len(batch.target))

    row = 0
    try:
        for result in client.map(sent(), loss=plan.loss.value, window=WINDOW, **plan.arguments):
            yield targets.popleft(), result
            row += result.row_count + result.ignored_count
    except LosswireError as error:
        _translate(error)
        raise _told_of(dataset.path, row, error) from error


def _translate(error: LosswireError) -> None:
    """Puts an error in the words of the command: its batches are nobody's, and its arguments are options."""
    error.batch = None
    if isinstance(error, InvalidArgumentError):
        error.hint = error.hint.replace("ignore_index=", "--ignore-index ")


def _told_of(path: Path, row: int, error: LosswireError) -> CommandError:
    """The error of a batch that begins with a row: the rows that it names are the batch's."""
    where = f"{path}: counting from row {row}" if row and isinstance(error, InvalidArgumentError) else path
    return CommandError(f"{where}: {error}", exit_code(error))
