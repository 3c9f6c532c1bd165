"""One transaction for entries that are committed together."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from losswire.exact_sums import ExactSums
from losswire_server.runs.database import sums
from losswire_server.runs.database.heads import Head, locked_heads
from losswire_server.runs.errors import RunNotFoundError
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.records import Entry, RunRecord, Totals
from losswire_server.runs.writing.reading import read_classes, read_keys, read_slices
from losswire_server.runs.writing.saving import save
from losswire_server.runs.writing.tally import After, Before, Outcome, Tally

MOST_KNOWN = 8  # runs whose totals are kept, so that they need not be read for each bundle


class Known(NamedTuple):
    """The totals of a run whose row was so, as far as they were needed."""

    head: Head
    sums: ExactSums
    slices: dict[str, Totals]
    classes: dict[int, ExactSums]


class Written(NamedTuple):
    """What a transaction has done, once it is on disk."""

    outcomes: list[Outcome]
    changed: list[After]  # runs that it added to


class Bundles:
    """Writes bundles of entries. For one thread.

    Totals are kept in memory for as long as the row of the run is on disk as it was left: another server may add to the
    run, and a database may be restored from a copy, so that a number alone would not tell.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._known: OrderedDict[int, Known] = OrderedDict()

    def write(self, connection: Connection, entries: Sequence[Entry], now: float, tried: set[int]) -> Written:
        """Adds entries to their runs, within a transaction that may still fail.

        Args:
            connection: In the transaction.
            entries: All of a bundle.
            now: Seconds since the epoch, the same in all attempts.
            tried: The places of entries that earlier attempts have added. If one of these was committed after all, its
                entries count now, and did not count before.
        """
        heads = locked_heads(connection, {entry.run for entry in entries})
        of_runs: dict[str, list[Entry]] = {name: [] for name in heads}
        for entry in entries:
            of_runs.get(entry.run, []).append(entry)
        tallies = {
            name: Tally(self._before(connection, heads[name], some), self._quotas) for name, some in of_runs.items()
        }
        outcomes: list[Outcome] = [
            tallies[entry.run].add(entry, now) if entry.run in tallies else RunNotFoundError(entry.run)
            for entry in entries
        ]
        for place in tried:
            if outcomes[place] is True and tallies[entries[place].run].was_added(entries[place].key, now):
                outcomes[place] = False
        tried.update(place for place, outcome in enumerate(outcomes) if outcome is False)
        changed = [after for tally in tallies.values() if (after := tally.after(now))]
        save(connection, changed)
        return Written(outcomes, changed)

    def committed(self, written: Written) -> list[RunRecord]:
        """Keeps the totals that are on disk now, and returns the runs as they are."""
        records = [self._keep(run) for run in written.changed]
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return records

    def _before(self, connection: Connection, head: Head, entries: Sequence[Entry]) -> Before:
        known = self._known_of(head)
        names = {entry.slice for entry in entries if entry.slice}
        known.slices.update(read_slices(connection, head.id, names - known.slices.keys()))
        if head.by_class:
            indices = {index for entry in entries for index in entry.by_class or ()}
            known.classes.update(read_classes(connection, head.id, indices - known.classes.keys()))
        keys = {record.key: record for record in read_keys(connection, head.id, {entry.key for entry in entries})}
        return Before(head, known.sums, known.slices, known.classes, keys)

    def _known_of(self, head: Head) -> Known:
        known = self._known.get(head.id)
        if known is None or known.head != head:
            known = self._known[head.id] = Known(head, sums.from_bytes(head.sums), {}, {})
        self._known.move_to_end(head.id)
        return known

    def _keep(self, run: After) -> RunRecord:
        before = self._known[run.head.id]
        before.slices.update(run.slices)
        before.classes.update(run.classes)
        self._known[run.head.id] = Known(run.head, run.sums, before.slices, before.classes)
        return run.head.record(run.sums)
