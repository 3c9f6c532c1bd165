"""Finishing a run: whether it has exactly the expected keys."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from losswire.errors import FieldError
from losswire_server.runs.database.heads import Head
from losswire_server.runs.database.tables import keys, runs
from losswire_server.runs.errors import RunCountError, RunIncompleteError
from losswire_server.runs.reads import find, missing

MOST_TOLD = 100  # keys of each kind that an error names
PAGE = 10_000

PAGES = select(keys.c.key).where(keys.c.run_id == bindparam("run"), keys.c.key > bindparam("after"))
PAGES = PAGES.order_by(keys.c.key).limit(PAGE)
FINISH = update(runs).values(finished_at=bindparam("now"), version=runs.c.version + 1)
FINISH = FINISH.where(runs.c.id == bindparam("run"), runs.c.key_count == bindparam("count"))
FINISH = FINISH.where(runs.c.name.is_not(None), runs.c.finished_at.is_(None))


class Checked(NamedTuple):
    """A run that has exactly the expected keys. Keys are only added: as long as it has so many, it has these."""

    run: int
    key_count: int
    is_finished: bool


def check(connection: Connection, name: str, expected: Sequence[str] | None, count: int | None) -> Checked:
    """Compares a run with the keys that are expected, or with their number.

    Raises:
        RunIncompleteError: It lacks some, or has others.
    """
    head = find(connection, name)
    if expected is not None:
        _check_keys(connection, head, set(expected))
    else:
        _check_count(head, head.expected_keys if count is None else count)
    return Checked(head.id, head.key_count, head.finished_at is not None)


def finish(connection: Connection, checked: Checked, now: float) -> bool:
    """Finishes a run, unless it has changed."""
    values = {"run": checked.run, "count": checked.key_count, "now": now}
    return connection.execute(FINISH, values).rowcount == 1


def _check_count(head: Head, count: int | None) -> None:
    if count is None:
        raise FieldError("expected", "expected keys or their number, since the run was created without one")
    if head.key_count != count:
        raise RunCountError(head.name, head.key_count, count)


def _check_keys(connection: Connection, head: Head, expected: set[str]) -> None:
    lacking = missing(connection, head.id, sorted(expected))
    others = head.key_count - (len(expected) - len(lacking))
    if lacking or others:
        named = _others(connection, head.id, expected, min(others, MOST_TOLD))
        raise RunIncompleteError(head.name, lacking[:MOST_TOLD], len(lacking), named, others)


def _others(connection: Connection, run: int, expected: set[str], most: int) -> list[str]:
    """The first keys that were not expected."""
    found: list[str] = []
    after = ""
    while len(found) < most:
        page = list(connection.execute(PAGES, {"run": run, "after": after}).scalars())
        found += [key for key in page if key not in expected]
        after = page[-1]
    return found[:most]
