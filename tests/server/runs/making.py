"""Makes what the tests give the store."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.records import Entry, NewRun
from losswire_server.runs.runs import Runs

DIGEST = "d" * 64


def sums_of(*losses: float, correct: int | None = None) -> ExactSums:
    """The sums of rows with these losses, and weights of 1."""
    ones = ExactSum.of([1.0] * len(losses))
    squared = ExactSum.of(loss * loss for loss in losses)  # exact for small losses
    return ExactSums(ExactSum.of(losses), ones, squared, ExactSum.of(losses), ones, len(losses), 0, correct)


def entry(
    key: str, *losses: float, run: str = "a", slice: str = "", by_class: Mapping[int, ExactSums] | None = None
) -> Entry:
    return Entry(run, key, slice, DIGEST, sums_of(*losses), by_class)


def new_run(name: str = "a", **fields: Any) -> NewRun:
    values = {"spec": b"spec", "digest": DIGEST, "by_class": False, "labels": {}, "expected_keys": None}
    return NewRun(**{"name": name, **values, **fields})


def create(runs: Runs, name: str = "a", **fields: Any) -> None:
    asyncio.run(runs.create(new_run(name, **fields)))


def commit(runs: Runs, *entries: Entry) -> list[Any]:
    return asyncio.run(runs.commit(entries))


@contextmanager
def opened(place: str, **more: Any) -> Iterator[Runs]:
    """A store with other quotas, or another one on the same database."""
    quotas = Quotas(**{name: more.pop(name) for name in Quotas._fields if name in more})
    runs = Runs(place, quotas, **more)
    runs.open()
    try:
        yield runs
    finally:
        runs.close()
