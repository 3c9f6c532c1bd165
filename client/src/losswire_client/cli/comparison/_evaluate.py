"""Evaluates pairs of files, and adds their rows up."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from losswire_client import Client, InvalidArgumentError, LosswireError, Result
from losswire_client._readers import FileError
from losswire_client._readers.sides import Pair, PairRows, PairSource, open_pair
from losswire_client.cli._failures import CommandError, ExitCode, exit_code
from losswire_client.cli.comparison._compared import Compared
from losswire_client.cli.comparison._plan import Arguments, Plan, arguments_of, check_heads, with_forms
from losswire_client.cli.comparison._tally import Tally
from losswire_client.cli.comparison._warnings import Looks

WINDOW = 4  # evaluations at a time: one is read, one on its way, one computed, one on its way back
BATCH_BYTES = 2**23  # of both sides; the batches in flight still take little memory

Advance = Callable[
    [Path, int | None, int], None
]  # takes a file, its rows if known, and how many more of them were sent
Take = Callable[[Compared], None]


@dataclass
class PairOutcome:
    """The outcome of two files.

    Attributes:
        source: The files.
        names: Names of the arrays of both files.
        labels_name: Name of the labels; None without labels.
        tally: The sums over their rows.
        warnings: Reasons to doubt them.
    """

    source: PairSource
    names: tuple[str, str]
    labels_name: str | None
    tally: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """The outcome of all files.

    Attributes:
        pairs: The outcomes of pairs that were compared.
        failures: The errors of those that failed, by the reference's file.
        total: The sums over all pairs; None if one failed.
    """

    pairs: list[PairOutcome] = field(default_factory=list)
    failures: list[tuple[Path, CommandError | FileError]] = field(default_factory=list)
    total: Tally | None = None

    @property
    def exit_code(self) -> ExitCode:
        return max((exit_code(error) for _, error in self.failures), default=ExitCode.OK)


def compare_files(client: Client, sources: Sequence[PairSource], plan: Plan, advance: Advance, take: Take) -> Outcome:
    """Compares one pair after the other. A pair that fails does not stop the rest, but a missing server does."""
    outcome, total, plan = Outcome(), Tally(), with_forms(plan)
    for source in sources:
        try:
            with closing(open_pair(source, plan.choice)) as pair:
                outcome.pairs.append(_compare(client, pair, plan, total, advance, take))
        except (CommandError, FileError) as error:
            outcome.failures.append((source.reference, error))
            if exit_code(error) is ExitCode.UNREACHABLE:
                break
    outcome.total = None if outcome.failures else total
    return outcome


def batch_rows(pair: Pair, plan: Plan) -> int:
    """Rows of one evaluation."""
    return plan.batch_rows or max(1, BATCH_BYTES // max(1, pair.row_bytes))


def _compare(client: Client, pair: Pair, plan: Plan, total: Tally, advance: Advance, take: Take) -> PairOutcome:
    check_heads(pair, plan)
    names = pair.reference.name, pair.candidate.name
    outcome = PairOutcome(pair.source, names, pair.labels.name if pair.labels else None)
    start, looks = time.perf_counter(), Looks(pair, plan)
    for compared in _results(client, pair, plan, outcome.tally, looks, advance):
        for add in (outcome.tally.add, total.add, take):
            add(compared)
    outcome.tally.seconds = time.perf_counter() - start
    total.seconds += outcome.tally.seconds
    total.masked_count += outcome.tally.masked_count
    outcome.warnings += looks.warnings()
    return outcome


def _results(
    client: Client, pair: Pair, plan: Plan, tally: Tally, looks: Looks, advance: Advance
) -> Iterator[Compared]:
    in_flight: deque[PairRows] = deque()
    twice = plan.with_reference and plan.has_changes and pair.labels is not None

    def sent() -> Iterator[Arguments]:
        for rows in pair.batches(batch_rows(pair, plan)):
            tally.masked_count += rows.masked_count
            if not len(rows.indices):
                continue
            in_flight.append(rows)
            looks.add(rows)
            yield {**arguments_of(rows, plan), **outputs_of(rows)}
            if twice:
                yield of_reference(rows, plan)
            advance(pair.source.candidate, pair.row_count, len(rows.indices))

    try:
        results = client.map(sent(), loss="kl_divergence", window=WINDOW, reduction="none", **_given(plan))
        for result in results:
            reference: Result | None = next(results) if twice else None
            yield Compared.of(pair, in_flight.popleft(), result, reference, plan)
    except LosswireError as error:
        raise refused(pair.source, in_flight[0] if in_flight else None, error) from error


def outputs_of(rows: PairRows) -> Arguments:
    """What an evaluation returns beside the divergences."""
    of_labels = () if rows.labels is None else ("target_log_probabilities",)
    return {"outputs": ("predictions", *of_labels), "exact": True}


def of_reference(rows: PairRows, plan: Plan) -> Arguments:
    """An evaluation of the reference alone, for the log-probability that it gives each label."""
    reference = arguments_of(rows, plan)["target"]
    arrays = {"input": reference, "target": reference, "labels": rows.labels}
    head = plan.reference_head and plan.reference_head.argument
    return {**arrays, "head": head, "outputs": ("target_log_probabilities",)}


def refused(source: PairSource, rows: PairRows | None, error: LosswireError) -> CommandError:
    """An error in the words of the command, with rows of the files in place of rows of an evaluation."""
    error.batch = None
    text = str(error)
    if rows is not None and isinstance(error, InvalidArgumentError):
        text = re.sub(r"\bat row (\d+)", lambda match: f"at row {rows.indices[int(match[1])]}", text)
    return CommandError(f"{source.reference} and {source.candidate}: {text}", exit_code(error))


def _given(plan: Plan) -> Arguments:
    options = {name: value for name, value in plan.options.items() if value is not None}
    return options | ({"series": plan.series} if plan.series else {})
