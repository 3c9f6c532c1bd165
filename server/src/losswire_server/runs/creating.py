"""Creating and deleting runs."""

import json

from sqlalchemy import Connection, bindparam, func, insert, select, update

from losswire.exact_sums import NOTHING
from losswire.runs import label_difference
from losswire_server.runs.database import sums
from losswire_server.runs.database.heads import head_of
from losswire_server.runs.database.tables import definitions, runs
from losswire_server.runs.errors import RunExistsError, RunNotFoundError, RunQuotaError
from losswire_server.runs.reads import progress
from losswire_server.runs.records import NewRun, RunRecord

CREATING = 0x6C6F7374  # PostgreSQL's advisory lock, so that the number of runs is exact
COUNT = select(func.count()).select_from(runs).where(runs.c.name.is_not(None))
EXPECT = update(runs).values(expected_keys=bindparam("number"), version=runs.c.version + 1)
EXPECT = EXPECT.where(runs.c.name == bindparam("of_name"), runs.c.finished_at.is_(None))
EXPECT = EXPECT.where(runs.c.expected_keys.is_distinct_from(bindparam("number")))
DELETE = update(runs).where(runs.c.name == bindparam("of_name")).values(name=None)


def create(connection: Connection, new: NewRun, max_runs: int, now: float) -> bool:
    """Creates a run, and says whether it did: there may be the same one, which then expects as many keys as ``new``.

    Raises:
        RunExistsError: There is another one of this name.
        RunQuotaError: There are as many runs as there may be.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATING})")
    if head_of(connection, new.name) is not None:
        _check_same(new, progress(connection, new.name))
        if new.expected_keys is not None:
            connection.execute(EXPECT, {"of_name": new.name, "number": new.expected_keys})
        return False
    if (connection.execute(COUNT).scalar() or 0) >= max_runs:
        raise RunQuotaError(f"there are {max_runs} runs, as many as this server keeps")
    _insert(connection, new, now)
    return True


def mark_deleted(connection: Connection, name: str) -> None:
    """Takes the name off a run. Its rows go later, a few at a time."""
    if "\0" in name or not connection.execute(DELETE, {"of_name": name}).rowcount:
        raise RunNotFoundError(name)


def _insert(connection: Connection, new: NewRun, now: float) -> None:
    values = {"name": new.name, "digest": new.digest, "by_class": new.by_class, "expected_keys": new.expected_keys}
    nothing = {"version": 0, "key_count": 0, "slice_count": 0, "class_count": 0, "sums": sums.to_bytes(NOTHING)}
    statement = insert(runs).values(**values, **nothing, created_at=now, updated_at=now)
    run = connection.execute(statement.returning(runs.c.id)).scalar_one()
    labels = json.dumps(dict(new.labels), sort_keys=True)
    connection.execute(insert(definitions).values(run_id=run, labels=labels, spec=new.spec))


def _check_same(new: NewRun, found: RunRecord) -> None:
    if new.digest != found.digest:
        raise RunExistsError("spec", f"run {new.name!r} has another loss or other options, with digest {found.digest}")
    if new.by_class != found.by_class:
        raise RunExistsError("by_class", f"run {new.name!r} has {found.by_class}, got {new.by_class}")
    if dict(new.labels) != dict(found.labels):
        raise RunExistsError("labels", f"run {new.name!r} {label_difference(found.labels, new.labels)}")
