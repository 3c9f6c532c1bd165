"""What is read of runs. Each function reads within one transaction, so all of it is from one moment."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from losswire.errors import FieldError
from losswire_server.runs.database import sums
from losswire_server.runs.database.heads import COLUMNS, Head, head_of
from losswire_server.runs.database.tables import classes, definitions, keys, runs, slices
from losswire_server.runs.errors import RunNotFoundError
from losswire_server.runs.records import KeyRecord, RunRecord, Totals
from losswire_server.runs.writing.reading import lists

DEFINITION = select(definitions.c.labels, definitions.c.spec).where(definitions.c.run_id == bindparam("run"))
SLICES = select(slices.c.slice, slices.c.key_count, slices.c.sums).where(slices.c.run_id == bindparam("run"))
CLASSES = select(classes.c.class_index, classes.c.sums).where(classes.c.run_id == bindparam("run"))
PRESENT = select(keys.c.key).where(keys.c.run_id == bindparam("run"), keys.c.key.in_(bindparam("some", expanding=True)))
LIST = select(*COLUMNS, definitions.c.labels).join(definitions, definitions.c.run_id == runs.c.id)
LIST = LIST.where(runs.c.name.is_not(None)).order_by(runs.c.id.desc())
KEYS = select(keys.c.key, keys.c.slice, keys.c.sums, keys.c.committed_at).order_by(keys.c.key)


def find(connection: Connection, name: str) -> Head:
    """The row of a run.

    Raises:
        RunNotFoundError: There is none.
    """
    head = None if "\0" in name else head_of(connection, name)  # PostgreSQL refuses to look for NUL
    if head is None:
        raise RunNotFoundError(name)
    return head


def progress(connection: Connection, name: str) -> RunRecord:
    """A run without slices and classes."""
    head = find(connection, name)
    labels, spec = connection.execute(DEFINITION, {"run": head.id}).one()
    return head.record(sums.from_bytes(head.sums), labels=json.loads(labels), spec=spec)


def whole(connection: Connection, name: str) -> RunRecord:
    """A run with slices and classes."""
    head = find(connection, name)
    labels, spec = connection.execute(DEFINITION, {"run": head.id}).one()
    of_slices = connection.execute(SLICES.order_by(slices.c.slice), {"run": head.id})
    of_classes = connection.execute(CLASSES.order_by(classes.c.class_index), {"run": head.id})
    return head.record(
        sums.from_bytes(head.sums),
        labels=json.loads(labels),
        spec=spec,
        slices={name: Totals(count, sums.from_bytes(data)) for name, count, data in of_slices},
        classes={index: Totals(None, sums.from_bytes(data)) for index, data in of_classes},
    )


def listed(connection: Connection, size: int, token: str, prefix: str) -> tuple[list[RunRecord], str]:
    """A page of runs, the newest first, and the token of the next one."""
    statement = LIST.limit(size + 1)
    if prefix:
        statement = statement.where(func.substr(runs.c.name, 1, len(prefix)) == prefix)
    if token:
        statement = statement.where(runs.c.id < _number(token))
    rows = connection.execute(statement).all()
    heads = [Head._make(row[:-1]) for row in rows[:size]]
    records = [
        head.record(sums.from_bytes(head.sums), labels=json.loads(row[-1]))
        for head, row in zip(heads, rows, strict=False)
    ]
    return records, str(heads[-1].id) if len(rows) > size else ""


def keys_of(
    connection: Connection, name: str, size: int, token: str, of_slice: str | None
) -> tuple[list[KeyRecord], str]:
    """A page of a run's keys, in the order of their bytes, and the token of the next one."""
    statement = KEYS.where(keys.c.run_id == find(connection, name).id).limit(size + 1)
    if of_slice is not None:
        statement = statement.where(keys.c.slice == of_slice)
    if token:
        statement = statement.where(keys.c.key > token)
    rows = connection.execute(statement).all()
    records = [KeyRecord(key, slice_, sums.from_bytes(data), at) for key, slice_, data, at in rows[:size]]
    return records, records[-1].key if len(rows) > size else ""


def missing(connection: Connection, run: int, names: Sequence[str]) -> list[str]:
    """Those of some keys that a run lacks, each once, in their order."""
    asked = dict.fromkeys(names)
    for some in lists(asked):
        for (key,) in connection.execute(PRESENT, {"run": run, "some": some}):
            del asked[key]
    return list(asked)


def _number(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise FieldError("page_token", "expected the token of the last page")
    return int(token)
