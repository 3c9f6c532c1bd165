"""The row of a run, without what may be large."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from losswire.exact_sums import ExactSums
from losswire_server.runs.database.tables import runs
from losswire_server.runs.records import RunRecord, Totals


class Head(NamedTuple):
    """The row of a run: see the table."""

    id: int
    name: str
    digest: str
    by_class: bool
    expected_keys: int | None
    created_at: float
    updated_at: float
    finished_at: float | None
    version: int
    key_count: int
    slice_count: int
    class_count: int
    sums: bytes

    def record(self, sums: ExactSums, **more: Any) -> RunRecord:
        return RunRecord(
            name=self.name,
            digest=self.digest,
            by_class=self.by_class,
            expected_keys=self.expected_keys,
            created_at=self.created_at,
            updated_at=self.updated_at,
            finished_at=self.finished_at,
            totals=Totals(self.key_count, sums),
            **more,
        )


COLUMNS = [runs.c[name] for name in Head._fields]
# In order, so that no two servers wait for each other.
LOCKED = (
    select(*COLUMNS).where(runs.c.name.in_(bindparam("names", expanding=True))).order_by(runs.c.id).with_for_update()
)
ONE = select(*COLUMNS).where(runs.c.name == bindparam("name"))


def locked_heads(connection: Connection, names: Iterable[str]) -> dict[str, Head]:
    """The rows of some runs, which nobody else changes until the transaction ends."""
    rows = connection.execute(LOCKED, {"names": sorted(names)})
    return {head.name: head for head in map(Head._make, rows)}


def head_of(connection: Connection, name: str) -> Head | None:
    row = connection.execute(ONE, {"name": name}).first()
    return Head._make(row) if row else None
