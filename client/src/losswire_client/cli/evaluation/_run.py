"""Evaluates files, and adds their rows up."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from losswire_client import Client, InvalidArgumentError, LosswireError, Result
from losswire_client._readers import Array, Dataset, FileError, PlacedBatch, Source, open_dataset
from losswire_client.cli._failures import CommandError, ExitCode, exit_code
from losswire_client.cli.evaluation._batches import batches
from losswire_client.cli.evaluation._hints import check_shapes
from losswire_client.cli.evaluation._kinds import kind_of, needs_logarithm
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._refusals import told_of, translate
from losswire_client.cli.evaluation._warnings import Looks, of_losses
from losswire_client.cli.evaluation.tallies._bytes import count_bytes
from losswire_client.cli.evaluation.tallies._classes import check_same_classes
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._tallies import Tallies

WINDOW = 4  # evaluations at a time: one is read, one on its way, one computed, one on its way back

Advance = Callable[
    [Path, int | None, int], None
]  # takes a file, its rows if known, and how many more of them were sent
Take = Callable[[Evaluated], None]


@dataclass
class FileOutcome:
    """The outcome of a file.

    Attributes:
        path: The file.
        input_name: Name of the input's array.
        with_logarithm: Whether the logarithm of the input was evaluated.
        tallies: The sums over its rows.
        warnings: Reasons to doubt its numbers.
    """

    path: Path
    input_name: str
    with_logarithm: bool
    tallies: Tallies
    warnings: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """The outcome of all files.

    Attributes:
        files: The outcomes of files that were evaluated.
        failures: The errors of files that failed.
        total: The sums over all files; None if a file failed.
    """

    files: list[FileOutcome] = field(default_factory=list)
    failures: list[tuple[Path, CommandError | FileError]] = field(default_factory=list)
    total: Tallies | None = None

    @property
    def exit_code(self) -> ExitCode:
        return max((exit_code(error) for _, error in self.failures), default=ExitCode.OK)


def evaluate_files(client: Client, files: Sequence[Source], plan: Plan, advance: Advance, take: Take) -> Outcome:
    """Evaluates one file after the other. A file that fails does not stop the rest, but a missing server does."""
    outcome, total = Outcome(), None
    for file in files:
        try:
            with closing(open_dataset(file, plan.selection)) as dataset:
                total = total or Tallies.of(dataset, plan)
                outcome.files.append(_evaluate(client, dataset, plan, total, advance, take))
        except (CommandError, FileError) as error:
            outcome.failures.append((file.path, error))
            if exit_code(error) is ExitCode.UNREACHABLE:
                break
    outcome.total = None if outcome.failures else total
    _set_bytes(outcome, plan)
    return outcome


def _evaluate(
    client: Client, dataset: Dataset, plan: Plan, total: Tallies, advance: Advance, take: Take
) -> FileOutcome:
    if plan.loss.has_classes:
        check_shapes(dataset, plan.head)
    tallies, looks = Tallies.of(dataset, plan), Looks(dataset.input_name, plan)
    with_logarithm = needs_logarithm(plan.loss, kind_of(dataset, plan))
    check_same_classes(dataset, tallies.classes, total.classes)
    start = time.perf_counter()
    for batch, result in _results(client, dataset, plan, advance):
        evaluated = Evaluated.of(dataset, batch, result, plan)
        for add in (tallies.add, total.add, looks.add, take):
            add(evaluated)
    for sums in (tallies.sums, total.sums):
        sums.ignored_count += dataset.masked_count
    tallies.seconds = time.perf_counter() - start
    total.seconds += tallies.seconds
    _add_bytes(dataset, plan, tallies, total)
    warnings = [*looks.warnings(), *of_losses(tallies, plan)]
    return FileOutcome(dataset.path, dataset.input_name, with_logarithm, tallies, warnings)


def _add_bytes(dataset: Dataset, plan: Plan, tallies: Tallies, total: Tallies) -> None:
    if plan.bytes_name:
        tallies.byte_count = count_bytes(dataset, plan.bytes_name)
        total.byte_count = (total.byte_count or 0) + tallies.byte_count


def _set_bytes(outcome: Outcome, plan: Plan) -> None:
    if plan.byte_count and outcome.total:
        outcome.total.byte_count = plan.byte_count
        if len(outcome.files) == 1:
            outcome.files[0].tallies.byte_count = plan.byte_count


def _results(client: Client, dataset: Dataset, plan: Plan, advance: Advance) -> Iterator[tuple[PlacedBatch, Result]]:
    """The rows and their results."""
    in_flight: deque[PlacedBatch] = deque()

    def sent() -> Iterator[dict[str, Array]]:
        for batch in batches(dataset, plan):
            in_flight.append(batch)
            yield batch.arguments._asdict()
            advance(dataset.path, dataset.input_shape[0], len(batch.target))

    try:
        for result in client.map(sent(), loss=plan.loss.value, window=WINDOW, **plan.arguments):
            yield in_flight.popleft(), result
    except LosswireError as error:
        translate(error)
        problem = told_of(in_flight[0], error) if isinstance(error, InvalidArgumentError) and in_flight else error
        raise CommandError(f"{dataset.path}: {problem}", exit_code(error)) from error
