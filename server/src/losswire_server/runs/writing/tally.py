"""What entries that are committed together comes to: which count, which not, and the totals after it. No database."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from losswire.exact_sums import NOTHING, ExactSums
from losswire_server.runs.database.heads import Head
from losswire_server.runs.database.sums import to_bytes
from losswire_server.runs.errors import KeyConflictError, RunFinishedError, RunMismatchError, RunQuotaError
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.records import Entry, KeyRecord, Totals
from losswire_server.runs.writing.adder import Adder

NO_KEYS = Totals(0, NOTHING)

Outcome = bool | Exception  # True: the key counted before; False: it counts now


class Before(NamedTuple):
    """A run before the bundle: its totals, and what of it the bundle touches."""

    head: Head
    sums: ExactSums
    slices: Mapping[str, Totals]
    classes: Mapping[int, ExactSums]
    keys: Mapping[str, KeyRecord]


class After(NamedTuple):
    """A run after the bundle: what of it has changed."""

    head: Head
    sums: ExactSums
    entries: Mapping[str, Entry]  # those that count now, by key
    slices: Mapping[str, Totals]
    classes: Mapping[int, ExactSums]
    new_slices: AbstractSet[str]  # those that the run did not have
    new_classes: AbstractSet[int]


class Tally:
    """The totals of a run while a bundle is added to it."""

    def __init__(self, before: Before, quotas: Quotas) -> None:
        self._before = before
        self._entries: dict[str, Entry] = {}
        self._sums = Adder(before.sums)
        self._new_slices: set[str] = set()
        self._new_classes: set[int] = set()
        self._quotas = quotas
        self._slices: dict[str, tuple[int, Adder]] = {}
        self._classes: dict[int, Adder] = {}

    def add(self, entry: Entry, now: float) -> Outcome:
        """Adds an entry, unless it counts already or must not."""
        try:
            check_match(self._before.head, entry.digest, has_classes=entry.by_class is not None)
            counted = self._counted(entry.key, now)
            if counted is not None:
                return _repeated(entry, counted)
            self._check_room(entry)
        except (KeyConflictError, RunFinishedError, RunMismatchError, RunQuotaError) as error:
            return error
        self._count(entry)
        return False

    def was_added(self, key: str, now: float) -> bool:
        """Whether the run had a key that was added at this very moment: by an attempt whose commit was not answered."""
        counted = self._before.keys.get(key)
        return counted is not None and counted.committed_at == now

    def after(self, now: float) -> After | None:
        """What has changed; None if nothing has."""
        if not self._entries:
            return None
        sums = self._sums.total
        return After(
            head=self._head(sums, now),
            sums=sums,
            entries=self._entries,
            slices={name: Totals(key_count, adder.total) for name, (key_count, adder) in self._slices.items()},
            classes={index: adder.total for index, adder in self._classes.items()},
            new_slices=self._new_slices,
            new_classes=self._new_classes,
        )

    def _head(self, sums: ExactSums, now: float) -> Head:
        head = self._before.head
        return head._replace(
            version=head.version + 1,
            updated_at=now,
            key_count=head.key_count + len(self._entries),
            slice_count=head.slice_count + len(self._new_slices),
            class_count=head.class_count + len(self._new_classes),
            sums=to_bytes(sums),
        )

    def _counted(self, key: str, now: float) -> KeyRecord | None:
        if key in self._entries:
            first = self._entries[key]
            return KeyRecord(key, first.slice, first.sums, now)
        return self._before.keys.get(key)

    def _check_room(self, entry: Entry) -> None:
        head, quotas = self._before.head, self._quotas
        if head.finished_at is not None:
            raise RunFinishedError(head.name, entry.key)
        if head.key_count + len(self._entries) >= quotas.max_run_keys:
            raise RunQuotaError(f"run {head.name!r} has {quotas.max_run_keys} keys, as many as it may")
        if self._is_new(entry.slice) and head.slice_count + len(self._new_slices) >= quotas.max_run_slices:
            raise RunQuotaError(f"run {head.name!r} has {quotas.max_run_slices} slices, as many as it may")
        new = self._new_among(entry)
        if new and head.class_count + len(self._new_classes) + len(new) > quotas.max_run_classes:
            raise RunQuotaError(f"run {head.name!r} may have no more than {quotas.max_run_classes} classes")

    def _is_new(self, name: str) -> bool:
        return bool(name) and name not in self._slices and name not in self._before.slices

    def _new_among(self, entry: Entry) -> set[int]:
        return self._classes_of(entry).keys() - self._before.classes.keys() - self._classes.keys()

    def _classes_of(self, entry: Entry) -> Mapping[int, ExactSums]:
        return entry.by_class or {} if self._before.head.by_class else {}

    def _count(self, entry: Entry) -> None:
        self._new_classes |= self._new_among(entry)
        if self._is_new(entry.slice):
            self._new_slices.add(entry.slice)
        self._entries[entry.key] = entry
        self._sums.add(entry.sums)
        if entry.slice:
            self._count_in_slice(entry)
        for index, sums in self._classes_of(entry).items():
            if index not in self._classes:
                self._classes[index] = Adder(self._before.classes.get(index, NOTHING))
            self._classes[index].add(sums)

    def _count_in_slice(self, entry: Entry) -> None:
        if entry.slice not in self._slices:
            before = self._before.slices.get(entry.slice, NO_KEYS)
            self._slices[entry.slice] = before.key_count or 0, Adder(before.sums)
        key_count, sums = self._slices[entry.slice]
        sums.add(entry.sums)
        self._slices[entry.slice] = key_count + 1, sums


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
