"""What the store takes and gives: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from losswire.exact_sums import ExactSums


class Entry(NamedTuple):
    """What an evaluation adds to a run."""

    run: str
    key: str
    slice: str  # empty for none
    digest: str  # of the loss and its options: SHA-256, in hexadecimal
    sums: ExactSums
    by_class: Mapping[int, ExactSums] | None


class NewRun(NamedTuple):
    """A run as its creator wants it."""

    name: str
    spec: bytes
    digest: str
    by_class: bool
    labels: Mapping[str, str]
    expected_keys: int | None


class Totals(NamedTuple):
    """Sums of some of a run's rows, and how many keys have such rows; None for a class."""

    key_count: int | None
    sums: ExactSums


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it is on disk. Times are seconds since the epoch."""

    name: str
    digest: str
    by_class: bool
    expected_keys: int | None
    created_at: float
    updated_at: float
    finished_at: float | None
    totals: Totals
    spec: bytes = b""  # not in lists, nor in what observers get
    labels: Mapping[str, str] = field(default_factory=dict)  # not in what observers get
    slices: Mapping[str, Totals] = field(default_factory=dict)  # by name; only where asked for, as the classes are
    classes: Mapping[int, Totals] = field(default_factory=dict)  # ascending


class KeyRecord(NamedTuple):
    """A key that counts."""

    key: str
    slice: str
    sums: ExactSums
    committed_at: float
