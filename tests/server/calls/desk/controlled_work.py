"""A desk with work that a test controls."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
import torch
from prometheus_client import CollectorRegistry

import ce_engine
from losswire import v1
from losswire_server.calls.admission import Admission
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import ANYBODY, Workplace
from losswire_server.calls.work import AT_ONCE_SECONDS, TakesLongError
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.evaluations import EvaluationMetrics
from losswire_server.metrics.series.losses import LossMetrics
from losswire_server.requests.ends import End, Evaluated, Labels
from losswire_server.requests.needed import Reserve
from losswire_server.requests.planned import Planned
from losswire_server.runs.absent import Outcome
from losswire_server.runs.records import Entry
from tests.helpers import eventually

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SHORT, LONG = AT_ONCE_SECONDS / 2, AT_ONCE_SECONDS * 2
IN_THREADS = ["read 4 in a reader", "plan in a reader", "end in the engine", "answer here"]
PLACES = {"reader": "in a reader", "ce-engine": "in the engine"}  # by the names of threads


def evaluated(requests: int = 1) -> Evaluated:
    response = v1.EvaluateResponse(loss_sum=1, weight_sum=1, row_count=1)
    return Evaluated(Labels("cross_entropy", "", "float32", "unary"), [response] * requests)


def slab() -> ce_engine.Slab:
    return ce_engine.slabs.cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))


class Work:
    """Work that records where it is read, planned and evaluated.

    Args:
        seconds: How long it says that it takes.
        ends: Its outcomes. If one is a function, its return value is the outcome. An error is raised.
        planning_seconds: How long it says that planning takes.
        writing_seconds: How long it says that writing the answer takes.
    """

    def __init__(
        self, seconds: float, *ends: Any, planning_seconds: float = math.inf, writing_seconds: float = 0.0
    ) -> None:
        self.seconds, self.planning_seconds, self.writing_seconds = seconds, planning_seconds, writing_seconds
        self.where: list[str] = []
        self._ends = ends

    def read(self, data: bytes) -> "Work":
        self._note(f"read {len(data)}")
        return self

    def at_once(self) -> Iterator[End]:
        for end in self._ends:
            yield self._end(end, None)

    def plan(self, reserve: Reserve) -> Iterator[Planned]:
        self._note("plan")
        reserve(0)
        for end in self._ends:
            yield Planned(slab(), partial(self._end, end), self._fail)

    def entries(self) -> list[Entry]:
        return []

    def settle(self, outcomes: Sequence[Outcome]) -> dict[int, grpc.StatusCode]:
        raise NotImplementedError

    def answer(self) -> bytes:
        self._note("answer")
        return b"answer"

    def _end(self, end: Any, _result: Any) -> End:
        self._note("end")
        came = end() if callable(end) else end
        if isinstance(came, Exception):
            raise came
        ended: End = came
        return ended

    def _fail(self, error: Exception) -> Iterator[Planned]:
        raise error

    def _note(self, what: str) -> None:
        name = threading.current_thread().name
        self.where.append(
            f"{what} {next((place for start, place in PLACES.items() if name.startswith(start)), 'here')}"
        )


class WorkThatTakesLong(Work):
    def at_once(self) -> Iterator[End]:
        self._note("begin")
        yield evaluated()
        raise TakesLongError


def desk_at(workplace: Workplace, registry: CollectorRegistry) -> Desk:
    return Desk(workplace, EvaluationMetrics(registry), LossMetrics(registry, max_series=1), PackMetrics(registry))


class DeskServer:
    """A desk and everything that it needs, for at most 100 bytes in flight by default."""

    def __init__(self, max_bytes: int = 100, **settings: Any) -> None:
        self.admission, self.registry = Admission(max_bytes), CollectorRegistry()
        self.readers, self.engine = ThreadPoolExecutor(1, "reader"), ce_engine.Engine(**settings)
        self.desk = desk_at(Workplace(self.admission, self.readers, self.engine), self.registry)

    def close(self) -> None:
        self.readers.shutdown()
        self.engine.close()

    def hold_up(self, go_on: threading.Event) -> None:
        """Has the engine wait."""
        begun = threading.Event()

        def wait(*_: object) -> None:
            begun.set()
            assert go_on.wait(20)

        self.engine.submit(slab(), caller="blocker", then=wait)
        assert begun.wait(20)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"losswire_{name}", labels or {"loss": "cross_entropy"}) or 0

    @property
    def rows(self) -> float:
        labels = {"series": "default", "loss": "cross_entropy", "dtype": "float32", "transport": "unary"}
        return self.counted("rows_total", **labels)

    def ended(self, code: str) -> float:
        return self.counted("batch_requests_total", grpc_code=code)

    @property
    def seconds(self) -> float:
        return self.counted("evaluation_seconds_sum")


def answer(server: DeskServer, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer(data, work.read, ANYBODY))


def answer_pack(server: DeskServer, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer_pack(data, work.read, ANYBODY))


async def leave(call: Awaitable[bytes], begun: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(eventually, begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
