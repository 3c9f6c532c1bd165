"""A client asks once what its server serves, and asks again if the server is another one."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

from losswire_client import AsyncClient, Client, LosswireError, ResourceExhaustedError
from losswire_client._transports import served
from losswire_server import Server
from tests.client.many.mapping import BOTH
from tests.helpers import eventually, serving

RNG = np.random.default_rng(0)
SMALL = [(RNG.standard_normal((n % 5 + 1, 7), np.float32), RNG.integers(0, 7, n % 5 + 1)) for n in range(24)]
MIDDLE = RNG.standard_normal((60, 1000), np.float32), RNG.integers(0, 1000, 60)  # in a message of its own
LARGE = RNG.standard_normal((600, 1000), np.float32), RNG.integers(0, 1000, 600)
FEW_BYTES = {"max_message_bytes": 2**16}


class Calls:
    """A client of either kind, with calls that block."""

    def __init__(self, client: Client | AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def one(self, call: Callable[[Any], Any]) -> Any:
        return self.all([call])[0]

    def all(self, calls: list[Callable[[Any], Any]]) -> list[Any]:
        """The outcomes of calls that are made at the same time."""
        if isinstance(self._client, Client):
            with ThreadPoolExecutor(len(calls)) as threads:
                return list(threads.map(lambda call: call(self._client), calls))

        async def gather() -> list[Any]:
            return await asyncio.gather(*(call(self._client) for call in calls))

        return self._runner.run(gather())

    def map(self, batches: list[Any]) -> list[Any]:
        if isinstance(self._client, Client):
            return list(self._client.map(batches, grad=True))

        async def collect() -> list[Any]:
            client: Any = self._client
            return [result async for result in client.map(batches, grad=True)]

        return self._runner.run(collect())

    def reaches(self) -> bool:
        try:
            return bool(self.one(lambda client: client.ping()) > 0)
        except LosswireError:
            return False

    def close(self) -> None:
        if isinstance(self._client, Client):
            self._client.close()
        else:
            self._runner.run(self._client.close())


@contextmanager
def calling(kind: type, port: int, **options: Any) -> Iterator[Calls]:
    """A client without retries, since a retry makes the client forget its server's answer."""
    with asyncio.Runner() as runner:
        calls = Calls(kind(f"127.0.0.1:{port}", timeout=20, retry=None, **options), runner)
        try:
            yield calls
        finally:
            calls.close()


def evaluated(batch: Any) -> Callable[[Any], Any]:
    return lambda client: client.cross_entropy(*batch, grad=True)


def results_of(calls: Calls) -> list[Any]:
    """Results of all transports, between which the server's answer decides."""
    return [
        *calls.all([evaluated(batch) for batch in SMALL]),
        *calls.map(SMALL),
        calls.one(evaluated(SMALL[1])),
        calls.one(evaluated(MIDDLE)),
        calls.one(evaluated(LARGE)),
        *calls.map([*SMALL, LARGE]),
    ]


def calls_of(server: Server, method: str) -> float:
    labels = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": method}
    return server.registry.get_sample_value("grpc_server_started_total", labels) or 0


def assert_same(got: list[Any], want: list[Any]) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a.loss, a.loss_sum, a.row_count) == (b.loss, b.loss_sum, b.row_count)
        assert np.array_equal(a.grad, b.grad)


@BOTH
@pytest.mark.parametrize("options", [{"coalesce": True}, {"transport": "stream"}, {}], ids=str)
def test_server_is_asked_once(kind, options):
    with serving() as server, calling(kind, server.port, **options) as calls:
        calls.one(evaluated(LARGE))
        results_of(calls)
        assert calls_of(server, "GetCapabilities") == 1


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"max_batch_requests": 0}),
        ({"max_batch_requests": 0}, {}),
        ({}, {"max_batch_requests": 2}),
        ({}, FEW_BYTES),
        (FEW_BYTES, {}),
        ({}, {"shared_memory_bytes": 0}),
        ({"shared_memory_bytes": 0}, {}),
    ],
    ids=str,
)
def test_restarted_server_may_differ(kind, before, after):
    with ExitStack() as servers:
        first = servers.enter_context(serving(**before))
        with calling(kind, first.port, coalesce=True) as calls:
            want = results_of(calls)
            servers.close()
            servers.enter_context(serving(port=first.port, **after))
            eventually(calls.reaches)
            assert_same(results_of(calls), want)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(("batch", "count"), [(SMALL[0], 40), (MIDDLE, 10), (LARGE, 5)], ids=["s", "m", "l"])
def test_first_call_after_restart_is_right(kind, batch, count):
    call = evaluated(batch)
    with ExitStack() as servers:
        first = servers.enter_context(serving())
        with calling(kind, first.port, coalesce=True) as calls:
            want = calls.all([call] * count)
            servers.close()
            servers.enter_context(serving(port=first.port, max_batch_requests=0, shared_memory_bytes=0, **FEW_BYTES))
            eventually(calls.reaches)
            assert_same(calls.all([call] * count), want)


@BOTH
def test_raised_limit_is_noticed(kind):
    with ExitStack() as servers:
        first = servers.enter_context(serving(**FEW_BYTES))
        with calling(kind, first.port, transport="stream") as calls:
            wide = evaluated((np.zeros((2, 50_000), np.float32), [0, 1]))
            with pytest.raises(ResourceExhaustedError, match="a row has 200000 bytes"):
                calls.one(wide)
            with pytest.raises(ResourceExhaustedError, match="a row has 200000 bytes"):
                calls.one(wide)
            servers.close()
            servers.enter_context(serving(port=first.port))
            eventually(calls.reaches)
            assert calls.one(wide).row_count == 2


@BOTH
def test_new_abilities_are_used_in_time(kind, monkeypatch):
    with ExitStack() as servers:
        first = servers.enter_context(serving(max_batch_requests=0, shared_memory_bytes=0))
        with calling(kind, first.port, coalesce=True) as calls:
            results_of(calls)
            servers.close()
            second = servers.enter_context(serving(port=first.port))
            eventually(calls.reaches)
            results_of(calls)
            assert calls_of(second, "GetCapabilities") == calls_of(second, "BatchEvaluate") == 0
            monkeypatch.setattr("losswire_client._transports.served.time.monotonic", later(time.monotonic))
            calls.one(evaluated(LARGE))
            results_of(calls)
            assert calls_of(second, "GetCapabilities") == 1
            assert calls_of(second, "BatchEvaluate") > 0
            assert calls.one(lambda client: client.capabilities()).max_batch_requests == 256


def later(clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() + served.KNOWN_SECONDS


@BOTH
def test_other_refusals_stand(kind):
    with serving(**FEW_BYTES) as server, calling(kind, server.port, transport="unary") as calls:
        calls.one(lambda client: client.capabilities())
        with pytest.raises(ResourceExhaustedError):
            calls.one(evaluated(LARGE))
        assert calls_of(server, "GetCapabilities") == 2
