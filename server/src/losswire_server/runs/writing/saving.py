"""What a transaction writes of runs to which it has added."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update
from sqlalchemy.sql.dml import Insert, Update

from losswire_server.runs.database import sums
from losswire_server.runs.database.heads import Head
from losswire_server.runs.database.tables import classes, keys, runs, slices
from losswire_server.runs.writing.tally import Tally

Row = dict[str, Any]

CHANGED = ("version", "updated_at", "key_count", "slice_count", "class_count", "sums")
SET_RUN = update(runs).where(runs.c.id == bindparam("run")).values({name: bindparam(name) for name in CHANGED})
SET_SLICE = update(slices).where(slices.c.run_id == bindparam("run"), slices.c.slice == bindparam("name"))
SET_SLICE = SET_SLICE.values(key_count=bindparam("key_count"), sums=bindparam("sums"))
SET_CLASS = update(classes).where(classes.c.run_id == bindparam("run"), classes.c.class_index == bindparam("index"))
SET_CLASS = SET_CLASS.values(sums=bindparam("sums"))
ADD_KEY, ADD_SLICE, ADD_CLASS = insert(keys), insert(slices), insert(classes)


def save(connection: Connection, tallies: Sequence[Tally], now: float) -> None:
    """Writes what changed, each kind of row by one statement."""
    _execute(connection, ADD_KEY, [row for tally in tallies for row in _keys(tally, now)])
    _execute(connection, SET_RUN, [_run(after(tally, now)) for tally in tallies])
    _execute(connection, ADD_SLICE, [row for tally in tallies for row in _new_slices(tally)])
    _execute(connection, SET_SLICE, [row for tally in tallies for row in _changed_slices(tally)])
    _execute(connection, ADD_CLASS, [row for tally in tallies for row in _new_classes(tally)])
    _execute(connection, SET_CLASS, [row for tally in tallies for row in _changed_classes(tally)])


def after(tally: Tally, now: float) -> Head:
    """The row of a run once the bundle is added."""
    head = tally.before.head
    return head._replace(
        version=head.version + 1,
        updated_at=now,
        key_count=head.key_count + len(tally.entries),
        slice_count=head.slice_count + len(tally.new_slices),
        class_count=head.class_count + len(tally.new_classes),
        sums=sums.to_bytes(tally.sums),
    )


def _execute(connection: Connection, statement: Insert | Update, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _run(head: Head) -> Row:
    return {"run": head.id} | {name: getattr(head, name) for name in CHANGED}


def _keys(tally: Tally, now: float) -> Iterator[Row]:
    run = tally.before.head.id
    for key, entry in tally.entries.items():
        data = sums.to_bytes(entry.sums)
        yield {"run_id": run, "key": key, "slice": entry.slice, "committed_at": now, "sums": data}


def _new_slices(tally: Tally) -> Iterator[Row]:
    run = tally.before.head.id
    for name in tally.new_slices:
        key_count, total = tally.slices[name]
        yield {"run_id": run, "slice": name, "key_count": key_count, "sums": sums.to_bytes(total)}


def _changed_slices(tally: Tally) -> Iterator[Row]:
    run = tally.before.head.id
    for name in tally.slices.keys() - tally.new_slices:
        key_count, total = tally.slices[name]
        yield {"run": run, "name": name, "key_count": key_count, "sums": sums.to_bytes(total)}


def _new_classes(tally: Tally) -> Iterator[Row]:
    run = tally.before.head.id
    for index in tally.new_classes:
        yield {"run_id": run, "class_index": index, "sums": sums.to_bytes(tally.classes[index])}


def _changed_classes(tally: Tally) -> Iterator[Row]:
    run = tally.before.head.id
    for index in tally.classes.keys() - tally.new_classes:
        yield {"run": run, "index": index, "sums": sums.to_bytes(tally.classes[index])}
