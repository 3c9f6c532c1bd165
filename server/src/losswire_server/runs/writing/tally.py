"""What entries that are committed together comes to: which count, which not, and the totals after it. No database."""

from collections.abc import Mapping
from typing import NamedTuple

from losswire.exact_sums import NOTHING, ExactSums
from losswire_server.runs.database.heads import Head
from losswire_server.runs.errors import KeyConflictError, RunFinishedError, RunMismatchError, RunQuotaError
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.records import Entry, KeyRecord, Totals

NO_KEYS = Totals(0, NOTHING)

Outcome = bool | Exception  # True: the key counted before; False: it counts now


class Before(NamedTuple):
    """A run before the bundle: its totals, and what of it the bundle touches."""

    head: Head
    sums: ExactSums
    slices: Mapping[str, Totals]
    classes: Mapping[int, ExactSums]
    keys: Mapping[str, KeyRecord]


class Tally:
    """The totals of a run while a bundle is added to it.

    Attributes:
        entries: Those that count now, by key.
        slices: The totals that changed, by slice.
        classes: The sums that changed, by class.
        new_slices: The slices that the run did not have.
        new_classes: The classes that it did not have.
    """

    def __init__(self, before: Before, quotas: Quotas) -> None:
        self.before = before
        self.sums = before.sums
        self.entries: dict[str, Entry] = {}
        self.slices: dict[str, Totals] = {}
        self.classes: dict[int, ExactSums] = {}
        self.new_slices: set[str] = set()
        self.new_classes: set[int] = set()
        self._quotas = quotas

    def add(self, entry: Entry, now: float) -> Outcome:
        """Adds an entry, unless it counts already or must not."""
        try:
            check_match(self.before.head, entry.digest, has_classes=entry.by_class is not None)
            counted = self._counted(entry.key, now)
            if counted is not None:
                return _repeated(entry, counted)
            self._check_room(entry)
        except (KeyConflictError, RunFinishedError, RunMismatchError, RunQuotaError) as error:
            return error
        self._count(entry)
        return False

    def _counted(self, key: str, now: float) -> KeyRecord | None:
        if key in self.entries:
            first = self.entries[key]
            return KeyRecord(key, first.slice, first.sums, now)
        return self.before.keys.get(key)

    def _check_room(self, entry: Entry) -> None:
        head, quotas = self.before.head, self._quotas
        if head.finished_at is not None:
            raise RunFinishedError(head.name, entry.key)
        if head.key_count + len(self.entries) >= quotas.max_run_keys:
            raise RunQuotaError(f"run {head.name!r} has {quotas.max_run_keys} keys, as many as it may")
        if self._is_new(entry.slice) and head.slice_count + len(self.new_slices) >= quotas.max_run_slices:
            raise RunQuotaError(f"run {head.name!r} has {quotas.max_run_slices} slices, as many as it may")
        new = self._new_among(entry)
        if new and head.class_count + len(self.new_classes) + len(new) > quotas.max_run_classes:
            raise RunQuotaError(f"run {head.name!r} may have no more than {quotas.max_run_classes} classes")

    def _is_new(self, name: str) -> bool:
        return bool(name) and name not in self.slices and name not in self.before.slices

    def _new_among(self, entry: Entry) -> set[int]:
        return self._classes_of(entry).keys() - self.before.classes.keys() - self.classes.keys()

    def _classes_of(self, entry: Entry) -> Mapping[int, ExactSums]:
        return entry.by_class or {} if self.before.head.by_class else {}

    def _count(self, entry: Entry) -> None:
        self.new_classes |= self._new_among(entry)
        if self._is_new(entry.slice):
            self.new_slices.add(entry.slice)
        self.entries[entry.key] = entry
        self.sums += entry.sums
        if entry.slice:
            totals = self.slices.get(entry.slice) or self.before.slices.get(entry.slice, NO_KEYS)
            self.slices[entry.slice] = Totals((totals.key_count or 0) + 1, totals.sums + entry.sums)
        for index, sums in self._classes_of(entry).items():
            before = self.classes.get(index) or self.before.classes.get(index, NOTHING)
            self.classes[index] = before + sums


def check_match(head: Head, digest: str, *, has_classes: bool) -> None:
    """Raises a RunMismatchError if an evaluation differs from its run."""
    if digest != head.digest:
        raise RunMismatchError("spec", f"expected the loss and options of the run, with digest {head.digest}")
    if head.by_class and not has_classes:
        raise RunMismatchError("exact.by_class", "expected it to be set, since the run adds up each class")


def _repeated(entry: Entry, counted: KeyRecord) -> bool:
    if entry.slice != counted.slice or not entry.sums.is_same(counted.sums):
        raise KeyConflictError(entry, counted)
    return True
