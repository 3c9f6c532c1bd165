"""Evaluations a second with keys and without, in turns, against one server in a process of its own.

The calls are messages that are ready: their caller takes less of the machine than a client of the SDK would.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import numpy as np

from losswire import v1
from losswire.tensors import encode
from losswire.v1 import run_service_pb2_grpc

RUN = "bench"
RNG = np.random.default_rng(0)
SERIES = v1.EvaluateRequest(series="bench").SerializeToString()  # appended as keys are, which copies the message
SPEC = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy())


class Case(NamedTuple):
    """What is sent."""

    rows: int
    classes: int
    in_flight: int
    calls: int  # in a turn


class Rates(NamedTuple):
    """Evaluations a second of a turn."""

    unkeyed: float
    keyed: float


def message(case: Case) -> bytes:
    request = v1.EvaluateRequest(spec=SPEC)
    encode(RNG.standard_normal((case.rows, case.classes), np.float32), request.input, "input")
    encode(RNG.integers(0, case.classes, case.rows), request.target, "target")
    return request.SerializeToString()


class Caller:
    """Sends evaluations to a run. The keys of all its calls are new."""

    def __init__(self, channel: grpc.aio.Channel, run: str) -> None:
        self._run = run
        self._evaluate: Any = channel.unary_unary("/losswire.v1.LossService/Evaluate")
        self._numbers = itertools.count()

    async def turn(self, case: Case, data: bytes) -> Rates:
        return Rates(await self._rate(case, lambda: data + SERIES), await self._rate(case, lambda: data + self._key()))

    def _key(self) -> bytes:
        """The field of a request that names its key: fields may come in any order."""
        key = v1.RunKey(run=self._run, key=f"val-{next(self._numbers):08}.parquet")
        return v1.EvaluateRequest(run_key=key).SerializeToString()

    async def _rate(self, case: Case, make: Callable[[], bytes]) -> float:
        left = iter(range(case.calls))

        async def call() -> None:
            for _ in left:
                await self._evaluate(make())

        start = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(case.in_flight)))
        return case.calls / (time.perf_counter() - start)


async def compare(target: str, case: Case, turns: int) -> list[Rates]:
    """The rates of each turn, after one that warms up."""
    async with _caller(target, f"{RUN}/{case.rows}x{case.classes}/{case.in_flight}") as caller:
        data = message(case)
        return [await caller.turn(case, data) for _ in range(1 + turns)][1:]


@asynccontextmanager
async def _caller(target: str, run: str) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(target) as channel:
        service: Any = run_service_pb2_grpc.RunServiceStub(channel)
        await service.CreateRun(v1.CreateRunRequest(name=run, spec=SPEC))
        yield Caller(channel, run)


def row(turns: list[Rates]) -> list[str]:
    """Medians, and the ratios of turns: median, least and most."""
    ratios = sorted(turn.keyed / turn.unkeyed for turn in turns)
    medians = (statistics.median(column) for column in zip(*turns, strict=True))
    return [
        *(f"{rate:,.0f}" for rate in medians),
        *(f"{ratio:.2f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1])),
    ]
