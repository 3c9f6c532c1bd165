"""What is compared: which files, and which of their arrays."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Form(StrEnum):
    """What the rows of a side are."""

    LOGITS = "logits"
    HIDDEN_STATES = "hidden states"
    TOP = "log-probabilities of some classes"


@dataclass(frozen=True)
class Choice:
    """Which array of a file is meant, and as what.

    Attributes:
        form: What its rows are.
        name: Name of the array; None for the usual names.
        option: The option for this name.
        classes_name: Name of the array with the classes that have the log-probabilities; None for the usual names.
        split: Split of a folder with several splits.
    """

    form: Form = Form.LOGITS
    name: str | None = None
    option: str = "--name-a"
    classes_name: str | None = None
    split: str | None = None


class PairSource(NamedTuple):
    """Two files to compare.

    Attributes:
        reference: The file of the first model.
        candidate: The file of the second model.
        labels: The file of the labels, if it is another one.
    """

    reference: Path
    candidate: Path
    labels: Path | None = None


@dataclass(frozen=True)
class PairChoice:
    """Which arrays of two files are meant, and which rows.

    Attributes:
        reference: The array of the first file.
        candidate: The array of the second file.
        labels_name: Name of the labels in either file; None for the usual names, if there are any.
        mask_name: Name of an array of the labels' file with 1 for rows that count and 0 for others.
        shift: Whether a row has the label of the next position of its sequence.
    """

    reference: Choice = field(default_factory=Choice)
    candidate: Choice = field(default_factory=lambda: Choice(option="--name-b"))
    labels_name: str | None = None
    mask_name: str | None = None
    shift: bool = False
