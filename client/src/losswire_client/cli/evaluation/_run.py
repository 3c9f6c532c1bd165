"""Files in, what their rows add up to out."""

import re
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
from losswire_client.cli.readers import Array, Batch, Dataset, FileError, PlacedBatch, Source, open_dataset, told_place

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


def evaluate_files(client: Client, files: Sequence[Source], plan: Plan, advance: Advance) -> Outcome:
    """Evaluates one file after the other. One that fails does not stop the others, but a server that is away does."""
    outcome, total = Outcome(), None
    for file in files:
        try:
            with closing(open_dataset(file, plan.selection)) as dataset:
                total = total or Tallies.of(plan, class_count(dataset, plan))
                outcome.files.append((file.path, _evaluate(client, dataset, plan, total, advance)))
        except CommandError as error:
            outcome.failures.append((file.path, error))
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
    for sums in (tallies.sums, total.sums):
        sums.ignored_count += dataset.masked_count
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
    in_flight: deque[PlacedBatch] = deque()

    def sent() -> Iterator[Batch]:
        for batch in batches(dataset, plan):
            in_flight.append(batch)
            yield batch.arguments
            advance(dataset, len(batch.target))

    try:
        for result in client.map(sent(), loss=plan.loss.value, window=WINDOW, **plan.arguments):
            yield in_flight.popleft().target, result
    except LosswireError as error:
        _translate(error)
        problem = _told_of(in_flight[0], error) if isinstance(error, InvalidArgumentError) and in_flight else error
        raise CommandError(f"{dataset.path}: {problem}", exit_code(error)) from error


def _translate(error: LosswireError) -> None:
    """Puts an error in the words of the command: its batches are nobody's, and its arguments are options."""
    error.batch = None
    if isinstance(error, InvalidArgumentError):
        error.hint = error.hint.replace("ignore_index=", "--ignore-index ")


def _told_of(batch: PlacedBatch, error: InvalidArgumentError) -> str:
    """The error of a batch with the place in the file in place of the batch's row, or element in row-major order."""
    of_target = error.argument == "target"
    shape = batch.target.shape if of_target else batch.input.shape

    def place(match: re.Match[str]) -> str:
        return f"at {told_place(batch.place(int(match[1]), shape, of_target=of_target))}"

    return re.sub(r"\bat (?:row|element) (\d+)", place, str(error))
