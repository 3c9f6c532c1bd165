"""Evaluates the blocks of files that a run lacks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from losswire_client import ConflictError, InvalidArgumentError, LosswireError, PreconditionError, Result
from losswire_client._many.batches import Missing
from losswire_client._many.map import evaluate_in_threads
from losswire_client._readers import FileError, listed
from losswire_client.cli._failures import CommandError, exit_code
from losswire_client.cli.evaluation._refusals import told_of, translate
from losswire_client.cli.evaluation._warnings import of_mean, of_rows
from losswire_client.cli.evaluation.keyed._files import KeyedFile
from losswire_client.cli.evaluation.keyed._missing import MissingKeys
from losswire_client.cli.evaluation.keyed._others import check_no_others
from losswire_client.cli.evaluation.keyed._outcome import FileTally, KeyedOutcome
from losswire_client.cli.evaluation.keyed._parts import Part, parts
from losswire_client.cli.evaluation.keyed._preparing import Prepared
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated

WINDOW = 8  # evaluations at a time, some of which wait for the disk of the server
GOES_ON = "what was acknowledged counts, and the same command goes on from there"

Advance = Callable[[int, int], None]  # takes how many keys count now, and of how many
Answered = tuple[Part, Result | LosswireError]


def evaluate_missing(prepared: Prepared, advance: Advance) -> KeyedOutcome[FileTally]:
    """Evaluates what is missing of all files. A file that fails does not stop the others.

    Raises:
        CommandError: The server failed, or the run cannot take what is missing.
    """
    with _going_on(prepared):
        outcome = KeyedOutcome[FileTally](prepared.survey.files, failures=[*prepared.survey.failures])
        missing = MissingKeys(prepared.run, outcome.files)
        outcome.expected_count = sum(1 for _ in prepared.survey.all_keys())
        outcome.found_count = outcome.expected_count - missing.first_count
        _check(prepared, missing, outcome.found_count)
        start = time.perf_counter()
        _evaluate_all(prepared, missing, outcome, advance)
        outcome.seconds = time.perf_counter() - start
        _look_at_the_run(prepared, outcome)
    return outcome


def finish_run(prepared: Prepared, outcome: KeyedOutcome[FileTally]) -> None:
    """Finishes the run with exactly the keys of the files, unless one of them failed."""
    if not outcome.is_complete:
        outcome.failures.append((Path(prepared.run.name), CommandError("the run is not finished, since it lacks keys")))
        return
    with _going_on(prepared):
        try:
            outcome.result = prepared.run.finish(keys=prepared.survey.all_keys())
        except PreconditionError as error:
            others = listed(error.unexpected) if error.unexpected else f"{outcome.other_count:,} others"
            raise CommandError(f"--finish: the run {prepared.run.name} has keys of other files: {others}") from error


def _check(prepared: Prepared, missing: MissingKeys, found: int) -> None:
    progress = prepared.run.progress()
    check_no_others(prepared.run, prepared.survey.files, found, progress.key_count or 0)
    if progress.is_finished and missing.first_count:
        problem = f"is finished, and lacks {missing.first_count:,} keys of these files"
        raise CommandError(f"the run {progress.name} {problem}")


def _evaluate_all(prepared: Prepared, missing: MissingKeys, outcome: KeyedOutcome[FileTally], advance: Advance) -> None:
    failed: set[str] = set()

    def fail(file: KeyedFile, error: CommandError | FileError) -> None:
        if file.name not in failed:
            failed.add(file.name)
            outcome.failures.append((file.source.path, error))

    coming = parts(missing, prepared.plan, prepared.terms.array, failed, fail)
    done = outcome.found_count
    advance(done, outcome.expected_count)
    for part, answer in evaluate_in_threads(_evaluator(prepared), coming, WINDOW):
        if isinstance(answer, LosswireError):
            fail(part.file, _refused(part, answer))
            continue
        try:
            _add(prepared, outcome, part, answer)
        except FileError as error:
            fail(part.file, error)
        done += 1
        advance(done, outcome.expected_count)


def _evaluator(prepared: Prepared) -> Callable[[Part | Missing], Answered]:
    """Evaluates a part. What the server says against the part itself comes back, so that other files go on."""
    wire_dtype = prepared.plan.options.get("wire_dtype")

    def evaluate(part: Part | Missing) -> Answered:
        if isinstance(part, Missing):
            raise part.error
        add, (rows, target) = prepared.run.evaluate, part.batch.arguments
        try:
            return part, add(rows, target, key=part.key, slice=part.slice, reduction="none", wire_dtype=wire_dtype)
        except (InvalidArgumentError, ConflictError) as error:
            return part, error

    return evaluate


def _add(prepared: Prepared, outcome: KeyedOutcome[FileTally], part: Part, result: Result) -> None:
    tally = outcome.tallies.setdefault(part.file.name, FileTally(part.dataset.input_name, prepared.plan))
    tally.add(Evaluated.of(part.dataset, part.batch, result, prepared.plan))


def _refused(part: Part, error: LosswireError) -> CommandError:
    translate(error)
    path, rows = part.file.source.path, part.file.told_rows(part.block)
    if isinstance(error, InvalidArgumentError):
        return CommandError(f"{path}: {told_of(part.batch, error)}", exit_code(error))
    cause = "the file has changed, or servers of different versions or devices evaluated it"
    return CommandError(f"{path}: {rows} count already, with other numbers: {cause}; {error}", exit_code(error))


def _look_at_the_run(prepared: Prepared, outcome: KeyedOutcome[FileTally]) -> None:
    outcome.missing_count = len(prepared.run.missing(prepared.survey.all_keys()))
    outcome.result = prepared.run.result()
    for file in outcome.files:
        if tally := outcome.tallies.get(file.name):
            warnings = [*tally.looks.warnings(), *of_rows(tally.nonfinite, tally.evaluated_count)]
            outcome.warnings += [(str(file.source.path), text) for text in warnings]
    outcome.warnings += [(prepared.run.name, text) for text in of_mean(outcome.result.mean, prepared.plan)]
    counted = outcome.expected_count - outcome.missing_count
    check_no_others(prepared.run, outcome.files, counted, outcome.result.key_count or 0)


@contextmanager
def _going_on(prepared: Prepared) -> Iterator[None]:
    """Has errors name the run, and say that nothing is lost, unless the same command would fail again."""
    try:
        yield
    except LosswireError as error:
        translate(error)
        hint = "" if isinstance(error, InvalidArgumentError) else f"; {GOES_ON}"
        raise CommandError(f"run {prepared.run.name}: {error}{hint}", exit_code(error)) from error
