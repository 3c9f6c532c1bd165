"""The pairs of files of a run: their blocks of rows, and the keys of these."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from losswire_client._keys import Reading, Terms, fingerprint
from losswire_client._readers import FileError, Source, files_of
from losswire_client._readers.sides import Pair, PairSource, open_pair
from losswire_client.cli._failures import CommandError
from losswire_client.cli.comparison._evaluate import BATCH_BYTES
from losswire_client.cli.comparison._plan import Plan, check_heads
from losswire_client.cli.evaluation.keyed._contents import name_of
from losswire_client.cli.evaluation.keyed._files import KeyedFile, Survey, check_each_is_another, check_keys

MOST_BLOCK_ROWS = 2**20


class PairSurvey(Survey):
    """The pairs of a command. Their files are told by the candidates.

    Attributes:
        sources: The pair of each file, by its name in keys.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[str, PairSource] = {}


def survey_pairs(sources: Sequence[PairSource], plan: Plan, terms: Terms, root: Path | None) -> PairSurvey:
    """Opens each pair, for its rows and its name in keys, which is the candidate's.

    Raises:
        BadParameter: Two candidates have one name, or are one file.
    """
    found = PairSurvey()
    for source in sources:
        try:
            file = _keyed(source, plan, terms, root)
            check_keys(file)
            found.files.append(file)
            found.sources[file.name] = source
        except (CommandError, FileError) as error:
            found.failures.append((source.candidate, error))
    check_each_is_another(found.files)
    return found


def usual_block_rows(sources: Sequence[PairSource], plan: Plan) -> int:
    """How many rows of the first pair that can be opened make a suitable block: a power of two."""
    for source in sources:
        try:
            with closing(open_pair(source, plan.choice)) as pair:
                rows = min(MOST_BLOCK_ROWS, max(1, BATCH_BYTES // max(1, pair.row_bytes)))
                return 1 << rows.bit_length() - 1
        except FileError:
            continue  # its error is reported when its turn comes
    return 1


def _keyed(source: PairSource, plan: Plan, terms: Terms, root: Path | None) -> KeyedFile:
    with closing(open_pair(source, plan.choice)) as pair:
        check_heads(pair, plan)
        block_rows = terms.block_rows or 1
        name = name_of(Source(source.candidate), plan.choice.candidate.split, root)
        return KeyedFile(
            source=Source(source.candidate, source.reference),
            name=name,
            fingerprint=fingerprint(_opened(source, plan), _reading(pair, plan)),
            row_count=_row_count(pair, block_rows),
            block_rows=block_rows,
            is_seekable=pair.is_seekable,
            with_logarithm=pair.candidate.with_logarithm,
            slice=terms.slice_of(name, source.candidate.absolute().parent.name),
        )


def _row_count(pair: Pair, block_rows: int) -> int:
    """The rows of a pair. If sequences differ in length, all are read for it."""
    if pair.row_count is not None:
        return pair.row_count
    return sum(len(values) for values, _ in pair.candidate.rows(block_rows))


def _reading(pair: Pair, plan: Plan) -> Reading:
    choice = plan.choice
    return Reading(
        input=pair.candidate.name,
        target=pair.candidate.name,
        mask=choice.mask_name,
        shift=choice.shift,
        logarithm=pair.candidate.with_logarithm,
        head=plan.candidate_head.digest if plan.candidate_head else None,
        reference=pair.reference.name,
        reference_head=plan.reference_head.digest if plan.reference_head else None,
        labels=pair.labels.name if pair.labels else None,
    )


def _opened(source: PairSource, plan: Plan) -> Iterator[BinaryIO]:
    paths = [source.candidate, source.reference, *([source.labels] if source.labels else [])]
    for path in paths:
        for each in [path] if path.is_file() else files_of(path, plan.choice.candidate.split):
            with each.open("rb") as file:
                yield file
