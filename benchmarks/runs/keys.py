"""A run of many keys: how long it takes to read, and what it takes of memory and disk."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np

from benchmarks.runs.rates import RUN, SPEC
from benchmarks.runs.stores import Store
from losswire import v1
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire.runs import spec_digest
from losswire.v1 import run_service_pb2_grpc
from losswire_server import RunningServer, launch
from losswire_server.runs.records import Entry, NewRun
from losswire_server.runs.runs import Runs

TOGETHER = 1024  # keys of a transaction
PAGE, CHUNK = 10_000, 1000  # keys
SOME_SUMS = 100
ROWS = 32  # of a key
GETS = 100
MB = 1e6


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        bytes: On disk, of a key.
        built: Keys a second that were committed.
        get_median: Seconds of `GetRun`, as the next one.
        get_p99: See there.
        listed: Seconds of all pages of keys.
        missing: Seconds of `FindMissingKeys` for all keys.
        finish: Seconds of `FinishRun` by the number of keys.
        memory: Bytes of the server before all of this, after the calls of `GetRun`, and after the others.
    """

    bytes: float
    built: float
    get_median: float
    get_p99: float
    listed: float
    missing: float
    finish: float
    memory: tuple[int, int, int]


def measure(store: Store, count: int) -> Measured:
    built = asyncio.run(_build(store, count))
    size = store.bytes()
    with launch(runs=store.place, access_log_per_second=0) as server, grpc.insecure_channel(server.target) as channel:
        return _measure(server, run_service_pb2_grpc.RunServiceStub(channel), count)._replace(
            bytes=size / count, built=built
        )


def _measure(server: RunningServer, service: Any, count: int) -> Measured:
    service.ListRuns(v1.ListRunsRequest())  # connects
    before = resident_bytes(server.pid)
    gets = sorted(seconds(lambda: service.GetRun(v1.GetRunRequest(name=RUN))) for _ in range(GETS))
    after = resident_bytes(server.pid)
    listed = seconds(lambda: _list(service, count))
    missing = seconds(lambda: _find_missing(service, count))
    finish = seconds(lambda: service.FinishRun(v1.FinishRunRequest(name=RUN, key_count=count)))
    memory = before, after, resident_bytes(server.pid)
    return Measured(0, 0, statistics.median(gets), gets[GETS * 99 // 100], listed, missing, finish, memory)


async def _build(store: Store, count: int) -> float:
    runs = Runs(store.place)
    runs.open()
    try:
        new = NewRun(RUN, SPEC.SerializeToString(deterministic=True), spec_digest(SPEC), False, {}, None)
        await runs.create(new)
        start = time.perf_counter()
        for entries in _entries(count):
            if True in await runs.commit(entries):
                raise RuntimeError("a key was there already")
        return count / (time.perf_counter() - start)
    finally:
        runs.close()


def _entries(count: int) -> Iterator[list[Entry]]:
    rng, digest = np.random.default_rng(0), spec_digest(SPEC)
    some = [_sums(rng.exponential(2.0, ROWS).astype(np.float32).tolist()) for _ in range(SOME_SUMS)]
    for first in range(0, count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, count))
        yield [Entry(RUN, key_of(number), "", digest, some[number % SOME_SUMS], None) for number in numbers]


def _sums(losses: list[float]) -> ExactSums:
    loss, ones = ExactSum.of(losses), ExactSum.of([1.0] * len(losses))
    return ExactSums(loss, ones, ExactSum.of(x * x for x in losses), loss, ones, len(losses), 0, None)


def key_of(number: int) -> str:
    return f"val-{number:08}.parquet"


def _list(service: Any, count: int) -> None:
    found, token = 0, ""
    while True:
        page = service.ListRunKeys(v1.ListRunKeysRequest(name=RUN, page_size=PAGE, page_token=token))
        found, token = found + len(page.keys), page.next_page_token
        if not token:
            break
    if found != count:
        raise RuntimeError(f"expected {count} keys, got {found}")


def _find_missing(service: Any, count: int) -> None:
    for first in range(0, count, CHUNK):
        keys = [key_of(number) for number in range(first, min(first + CHUNK, count))]
        if list(service.FindMissingKeys(v1.FindMissingKeysRequest(name=RUN, keys=[*keys[1:], "none"])).missing) != [
            "none"
        ]:
            raise RuntimeError("expected one missing key")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def rows(name: str, count: int, found: Measured) -> Iterator[tuple[str, str, str]]:
    """Of the table."""
    yield name, f"{count:,} keys committed, {TOGETHER} at a time", f"{found.built:,.0f} /s"
    yield "", "on disk", f"{found.bytes:.0f} bytes/key"
    yield (
        "",
        f"GetRun, median and 99th percentile of {GETS}",
        f"{found.get_median * 1e3:.1f}, {found.get_p99 * 1e3:.1f} ms",
    )
    yield "", f"ListRunKeys, all of them, {PAGE} at a time", f"{found.listed:.1f} s"
    yield "", f"FindMissingKeys, all of them, {CHUNK} at a time", f"{found.missing:.1f} s"
    yield "", "FinishRun by their number", f"{found.finish * 1e3:.0f} ms"
    yield (
        "",
        "server's memory: before, after GetRun, after all",
        ", ".join(f"{b / MB:.0f}" for b in found.memory) + " MB",
    )
