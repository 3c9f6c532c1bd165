"""``losswire compare --run``: each block of rows is compared under a key, and counts once."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from losswire_client import ConflictError, InvalidArgumentError, LosswireError, PreconditionError, Result
from losswire_client._many.batches import Missing
from losswire_client._many.map import evaluate_in_threads
from losswire_client._readers import FileError, listed
from losswire_client._readers.sides import Pair, PairRows, PairSource, open_pair
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import CommandError, exit_code, warn
from losswire_client.cli.comparison._evaluate import refused
from losswire_client.cli.comparison._plan import Plan, arguments_of
from losswire_client.cli.comparison.keyed._preparing import Prepared, prepare
from losswire_client.cli.evaluation.keyed._evaluate import GOES_ON, WINDOW, Advance
from losswire_client.cli.evaluation.keyed._files import KeyedFile
from losswire_client.cli.evaluation.keyed._missing import MissingKeys
from losswire_client.cli.evaluation.keyed._others import check_no_others
from losswire_client.cli.evaluation.keyed._outcome import KeyedOutcome, KeyTally
from losswire_client.cli.evaluation.keyed._progress import key_bar
from losswire_client.cli.evaluation.keyed._wanted import Wanted

Outcome = KeyedOutcome[KeyTally]


class Part(NamedTuple):
    """Rows that are compared under one key."""

    file: KeyedFile
    source: PairSource
    key: str
    rows: PairRows


def compare_in_run(
    connection: Connection, wanted: Wanted, sources: Sequence[PairSource], plan: Plan
) -> tuple[Prepared, Outcome]:
    """Compares what a run lacks of pairs of files.

    Args:
        connection: Where the server is.
        wanted: What the command line says of the run.
        sources: The pairs.
        plan: What the command line says of how to compare them.

    Raises:
        CommandError: The server failed, or the run cannot take what is missing.
    """
    try:
        with connection.lasting_client() as client, key_bar(wanted.name) as advance:
            prepared = prepare(client, wanted, sources, plan)
            outcome = _compare_missing(prepared, advance)
            if wanted.is_whole:
                _finish(prepared, outcome)
    except KeyboardInterrupt:
        warn(f"run {wanted.name}: interrupted; {GOES_ON}")
        raise
    return prepared, outcome


def _compare_missing(prepared: Prepared, advance: Advance) -> Outcome:
    with _going_on(prepared):
        files = prepared.survey.files
        outcome = Outcome(files, failures=[*prepared.survey.failures])
        missing = MissingKeys(prepared.run, files)
        outcome.expected_count = sum(1 for _ in prepared.survey.all_keys())
        outcome.found_count = outcome.expected_count - missing.first_count
        progress = prepared.run.progress()
        check_no_others(prepared.run, files, outcome.found_count, progress.key_count or 0)
        if progress.is_finished and missing.first_count:
            problem = f"is finished, and lacks {missing.first_count:,} keys of these files"
            raise CommandError(f"the run {progress.name} {problem}")
        start = time.perf_counter()
        _compare_all(prepared, missing, outcome, advance)
        outcome.seconds = time.perf_counter() - start
        outcome.missing_count = len(prepared.run.missing(prepared.survey.all_keys()))
        outcome.result = prepared.run.result()
    return outcome


def _compare_all(prepared: Prepared, missing: MissingKeys, outcome: Outcome, advance: Advance) -> None:
    failed: set[str] = set()

    def fail(file: KeyedFile, error: CommandError | FileError) -> None:
        if file.name not in failed:
            failed.add(file.name)
            outcome.failures.append((file.source.path, error))

    done = outcome.found_count
    advance(done, outcome.expected_count)
    for part, answer in evaluate_in_threads(_evaluator(prepared), _parts(prepared, missing, failed, fail), WINDOW):
        if isinstance(answer, LosswireError):
            fail(part.file, refused(part.source, part.rows, answer))
            continue
        outcome.tallies.setdefault(part.file.name, KeyTally()).count(answer)
        done += 1
        advance(done, outcome.expected_count)


def _evaluator(prepared: Prepared) -> Callable[[Part | Missing], tuple[Part, Result | LosswireError]]:
    """Compares a part. What the server says against the part itself comes back, so that other files go on."""

    def evaluate(part: Part | Missing) -> tuple[Part, Result | LosswireError]:
        if isinstance(part, Missing):
            raise part.error
        arguments: dict[str, Any] = arguments_of(part.rows, prepared.plan)
        try:
            return part, prepared.run.evaluate(**arguments, key=part.key, slice=part.file.slice, reduction="sum")
        except (InvalidArgumentError, ConflictError) as error:
            return part, error

    return evaluate


def _parts(
    prepared: Prepared, missing: MissingKeys, failed: set[str], fail: Callable[[KeyedFile, FileError], None]
) -> Iterator[Part]:
    """All parts that are missing."""
    with ExitStack() as opened:
        name, pair = "", None
        for file, blocks in missing.stretches():
            if file.name in failed:
                continue
            try:
                if pair is None or name != file.name:
                    opened.close()
                    name, source = file.name, prepared.survey.sources[file.name]
                    pair = opened.enter_context(closing(open_pair(source, prepared.plan.choice)))
                yield from _of_stretch(pair, file, blocks, missing, failed)
            except FileError as error:
                fail(file, error)


def _of_stretch(
    pair: Pair, file: KeyedFile, blocks: Sequence[int], missing: MissingKeys, failed: set[str]
) -> Iterator[Part]:
    wanted = set(blocks)
    read = pair.batches(file.block_rows, file.first_row(blocks[0]))
    for block, rows in zip(range(blocks[0], blocks[-1] + 1), read, strict=False):
        if file.name in failed:
            return
        if block in wanted:
            for key in missing.of_next(file, block):
                yield Part(file, pair.source, key, rows)


def _finish(prepared: Prepared, outcome: Outcome) -> None:
    """Finishes the run with exactly the keys of the pairs, unless one of them failed."""
    if not outcome.is_complete:
        outcome.failures.append((Path(prepared.run.name), CommandError("the run is not finished, since it lacks keys")))
        return
    with _going_on(prepared):
        try:
            outcome.result = prepared.run.finish(keys=prepared.survey.all_keys())
        except PreconditionError as error:
            others = listed(error.unexpected) if error.unexpected else f"{outcome.other_count:,} others"
            raise CommandError(f"--finish: the run {prepared.run.name} has keys of other files: {others}") from error


@contextmanager
def _going_on(prepared: Prepared) -> Iterator[None]:
    """Has errors name the run, and say that nothing is lost, unless the same command would fail again."""
    try:
        yield
    except LosswireError as error:
        hint = "" if isinstance(error, InvalidArgumentError) else f"; {GOES_ON}"
        raise CommandError(f"run {prepared.run.name}: {error}{hint}", exit_code(error)) from error
