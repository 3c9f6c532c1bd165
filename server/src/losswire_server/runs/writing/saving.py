"""What a transaction writes of runs to which it has added."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update
from sqlalchemy.sql.dml import Insert, Update

from losswire_server.runs.database.heads import Head
from losswire_server.runs.database.sums import to_bytes
from losswire_server.runs.database.tables import classes, keys, runs, slices
from losswire_server.runs.writing.tally import After

Row = dict[str, Any]

CHANGED = ("version", "updated_at", "key_count", "slice_count", "class_count", "sums")
SET_RUN = update(runs).where(runs.c.id == bindparam("run")).values({name: bindparam(name) for name in CHANGED})
SET_SLICE = update(slices).where(slices.c.run_id == bindparam("run"), slices.c.slice == bindparam("name"))
SET_SLICE = SET_SLICE.values(key_count=bindparam("key_count"), sums=bindparam("sums"))
SET_CLASS = update(classes).where(classes.c.run_id == bindparam("run"), classes.c.class_index == bindparam("index"))
SET_CLASS = SET_CLASS.values(sums=bindparam("sums"))
ADD_KEY, ADD_SLICE, ADD_CLASS = insert(keys), insert(slices), insert(classes)


def save(connection: Connection, changed: Sequence[After]) -> None:
    """Writes what changed, each kind of row by one statement."""
    _execute(connection, ADD_KEY, [row for run in changed for row in _keys(run)])
    _execute(connection, SET_RUN, [_run(run.head) for run in changed])
    _execute(connection, ADD_SLICE, [row for run in changed for row in _new_slices(run)])
    _execute(connection, SET_SLICE, [row for run in changed for row in _old_slices(run)])
    _execute(connection, ADD_CLASS, [row for run in changed for row in _new_classes(run)])
    _execute(connection, SET_CLASS, [row for run in changed for row in _old_classes(run)])


def _execute(connection: Connection, statement: Insert | Update, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _run(head: Head) -> Row:
    return {"run": head.id} | {name: getattr(head, name) for name in CHANGED}


def _keys(run: After) -> Iterator[Row]:
    number, now = run.head.id, run.head.updated_at
    for key, entry in run.entries.items():
        data = to_bytes(entry.sums)
        yield {"run_id": number, "key": key, "slice": entry.slice, "committed_at": now, "sums": data}


def _new_slices(run: After) -> Iterator[Row]:
    for name in run.new_slices:
        key_count, sums = run.slices[name]
        yield {"run_id": run.head.id, "slice": name, "key_count": key_count, "sums": to_bytes(sums)}


def _old_slices(run: After) -> Iterator[Row]:
    for name in run.slices.keys() - run.new_slices:
        key_count, sums = run.slices[name]
        yield {"run": run.head.id, "name": name, "key_count": key_count, "sums": to_bytes(sums)}


def _new_classes(run: After) -> Iterator[Row]:
    for index in run.new_classes:
        yield {"run_id": run.head.id, "class_index": index, "sums": to_bytes(run.classes[index])}


def _old_classes(run: After) -> Iterator[Row]:
    for index in run.classes.keys() - run.new_classes:
        yield {"run": run.head.id, "index": index, "sums": to_bytes(run.classes[index])}
