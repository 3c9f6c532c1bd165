"""Opens two files for a comparison, and finds the labels of their rows."""

from contextlib import ExitStack, closing
from pathlib import Path

from losswire_client._readers._columns import EvenSequences, SequenceColumn
from losswire_client._readers._dataset import FileError, told_of
from losswire_client._readers._folders import open_path
from losswire_client._readers._names import TARGET_NAMES, choose
from losswire_client._readers._opening import Found
from losswire_client._readers.sides._choice import PairChoice, PairSource
from losswire_client._readers.sides._labels import Labels, LabelSource, TokenLabels
from losswire_client._readers.sides._pair import Pair
from losswire_client._readers.sides._side import Side, open_side


def open_pair(source: PairSource, choice: PairChoice) -> Pair:
    """Opens two files, and the labels of their rows, if there are any.

    Raises:
        FileError: A file cannot be read, or the two do not have the same rows and classes.
    """
    with ExitStack() as opened:
        sides = (
            open_side(source.reference, choice.reference, opened),
            open_side(source.candidate, choice.candidate, opened),
        )
        labels = _labels(source, choice, sides, opened)
        if labels and choice.shift:
            _check_sequences(labels, sides)
        pair = Pair(source, *sides, labels, opened)
        pair.check()
        # From here on, closing the pair closes the files.
        return Pair(source, *sides, labels, opened.pop_all())


def _labels(source: PairSource, choice: PairChoice, sides: tuple[Side, Side], opened: ExitStack) -> LabelSource | None:
    """The labels in their own file, or else those in the first file that has some."""
    if source.labels:
        return _in_own_file(source.labels, choice, opened)
    for side in sides:
        if side.base and not (choice.labels_name or choice.mask_name or choice.shift):
            return LabelSource(side.path, "tokens", TokenLabels(side.base.labels))
        if side.file and not {choice.labels_name, *(() if choice.labels_name else TARGET_NAMES)}.isdisjoint(
            side.file.names
        ):
            with told_of(side.path, (ValueError,)):
                name = choose(side.file, choice.labels_name, TARGET_NAMES, "--labels")
                return _opened(Found(side.path, side.file, name), choice)
    _check_needless(source, choice)
    return None


def _in_own_file(path: Path, choice: PairChoice, opened: ExitStack) -> LabelSource:
    with told_of(path, (ValueError,)):
        file = opened.enter_context(closing(open_path(path, None)))
        usual = file.names if len(file.names) == 1 else TARGET_NAMES
        return _opened(Found(path, file, choose(file, choice.labels_name, usual, "--labels")), choice)


def _opened(labels: Found, choice: PairChoice) -> LabelSource:
    mask = None
    if choice.mask_name:
        mask = labels._replace(name=choose(labels.file, choice.mask_name, (), "--mask-name"))
    names = labels.name, choice.mask_name
    rows = Labels(_sequences(labels), mask and _sequences(mask), names, shift=choice.shift)
    return LabelSource(labels.path, labels.name, rows, (*labels.file.errors, ValueError))


def _sequences(found: Found) -> SequenceColumn:
    if found.file.has_lists(found.name):
        return found.sequences()
    column = found.target()
    return EvenSequences(found.name, column, len(column.shape))


def _check_sequences(labels: LabelSource, sides: tuple[Side, Side]) -> None:
    """Refuses labels whose sequences are others than those of the rows, as far as shapes tell: the next is another."""
    inner = getattr(labels.stream, "inner", None)
    for side in sides:
        there = getattr(side.values, "inner", None)
        if there and inner is not None and inner != there:
            problem = f"{labels.name} has sequences of shape {inner}, and {side.name} of {side.path} of {there}"
            raise FileError(labels.path, f"{problem}: with --shift they must be the same")


def _check_needless(source: PairSource, choice: PairChoice) -> None:
    """Refuses options that are about labels, where there are none."""
    if choice.labels_name:
        problem = f"has no array named {choice.labels_name}, and neither has {source.candidate}: choose with --labels"
        raise FileError(source.reference, problem)
    for option, value in (("--mask-name", choice.mask_name), ("--shift", choice.shift)):
        if value:
            raise FileError(
                source.reference, f"has no labels, and neither has {source.candidate}: {option} is about them"
            )
