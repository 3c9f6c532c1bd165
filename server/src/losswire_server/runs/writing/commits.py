"""Commits bundles of entries, and tells of it."""

import logging
import time
from collections.abc import Callable, Sequence

from losswire_server.runs.database.database import Database
from losswire_server.runs.errors import KeyConflictError, StoreUnavailableError
from losswire_server.runs.observer import Commit, Observer
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.records import Entry, RunRecord
from losswire_server.runs.writing.bundles import Bundles
from losswire_server.runs.writing.tally import Outcome

log = logging.getLogger(__name__)


class Commits:
    """Commits bundles of entries, and tells of it. For one thread."""

    def __init__(self, database: Database, quotas: Quotas, observer: Observer, clock: Callable[[], float]) -> None:
        self._database = database
        self._bundles = Bundles(quotas)
        self._observer = observer
        self._clock = clock
        self._is_available = True

    def __call__(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Returns once the entries that count are on disk."""
        begun, now, tried = time.perf_counter(), self._clock(), set[int]()
        try:
            written = self._database.write(lambda connection: self._bundles.write(connection, entries, now, tried))
        except StoreUnavailableError as error:
            self._lost(error)
            return [StoreUnavailableError(str(error)) for _ in entries]
        records = self._bundles.committed(written)
        self._told(time.perf_counter() - begun, written.outcomes, records)
        return written.outcomes

    def _lost(self, error: StoreUnavailableError) -> None:
        if self._is_available:  # told once, not for each bundle
            log.error("the store of runs is unavailable", extra={"problem": str(error)})
        self._is_available = False
        self._observer.unavailable()

    def _told(self, seconds: float, outcomes: Sequence[Outcome], records: Sequence[RunRecord]) -> None:
        if not self._is_available:
            log.info("the store of runs is available again")
        self._is_available = True
        counted, repeats = outcomes.count(False), outcomes.count(True)
        conflicts = sum(isinstance(outcome, KeyConflictError) for outcome in outcomes)
        refused = len(outcomes) - counted - repeats - conflicts
        try:
            self._observer.committed(Commit(seconds, counted, repeats, conflicts, refused, records))
        except Exception:  # what is on disk is acknowledged all the same
            log.exception("an observer of runs failed")
