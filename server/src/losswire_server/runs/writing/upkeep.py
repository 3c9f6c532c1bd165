"""What is due without being asked for: idle runs expire, and the rows of deleted runs go, a few at a time."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection, Table, bindparam, delete, select, update

from losswire_server.runs.database.database import Database
from losswire_server.runs.database.tables import classes, definitions, keys, runs, slices
from losswire_server.runs.errors import StoreUnavailableError

MOST_ROWS = 2000  # of one transaction, so that no commit waits for long
LONGEST_SECONDS = 60.0  # until upkeep looks again: another server may have left a deletion unfinished

DELETED = select(runs.c.id).where(runs.c.name.is_(None)).order_by(runs.c.id).limit(1).with_for_update(skip_locked=True)
IDLE = update(runs).where(runs.c.name.is_not(None), runs.c.updated_at < bindparam("before")).values(name=None)
MANY = (keys, slices, classes)  # tables with many rows of one run

log = logging.getLogger(__name__)


class Upkeep:
    """Does a little of what is due, and says in how many seconds more is.

    Args:
        idle_seconds: A run to which nobody adds for so long is deleted; 0 keeps all.
        clock: Gives seconds since the epoch.
    """

    def __init__(self, database: Database, idle_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._idle_seconds = idle_seconds
        self._clock = clock

    def __call__(self) -> float:
        try:
            expired = self._database.write(self._expire) if self._idle_seconds else 0
            if expired:
                log.info("idle runs deleted", extra={"runs": expired})
            if self._database.read(_find_deleted) is not None and self._database.write(sweep):
                return 0.0
        except StoreUnavailableError as error:
            log.warning("the store of runs is unavailable", extra={"problem": str(error)})
        return min(LONGEST_SECONDS, self._idle_seconds / 4 or LONGEST_SECONDS)

    def _expire(self, connection: Connection) -> int:
        return connection.execute(IDLE, {"before": self._clock() - self._idle_seconds}).rowcount


def _find_deleted(connection: Connection) -> int | None:
    found: int | None = connection.execute(select(runs.c.id).where(runs.c.name.is_(None)).limit(1)).scalar()
    return found


def sweep(connection: Connection) -> bool:
    """Deletes some rows of a deleted run, or the run after its last row. Says whether there was one."""
    run = connection.execute(DELETED).scalar()
    if run is None:  # or another server is at it
        return False
    for table in MANY:
        if _delete_some(connection, table, run):
            return True
    connection.execute(delete(definitions).where(definitions.c.run_id == run))
    connection.execute(delete(runs).where(runs.c.id == run))
    return True


def _delete_some(connection: Connection, table: Table, run: int) -> bool:
    """Deletes the first rows of a run, by a range of the index."""
    _, name = table.primary_key.columns
    first = select(name).where(table.c.run_id == run).order_by(name)
    last = connection.execute(first.offset(MOST_ROWS - 1).limit(1)).scalar()
    statement = delete(table).where(table.c.run_id == run)
    if last is not None:
        statement = statement.where(name <= last)
    return connection.execute(statement).rowcount > 0
