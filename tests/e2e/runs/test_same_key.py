"""Two servers on one database that get the same key at the same moment count it once."""

import asyncio
from contextlib import AsyncExitStack, ExitStack
from fractions import Fraction
from uuid import uuid4

import numpy as np
import pytest

from losswire_client import AsyncClient
from losswire_server import launch
from tests.helpers import serving

NAME = "run"
TOGETHER = 64  # keys in flight at each server
SECONDS = 60.0


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    address: str = request.getfixturevalue("database").new_schema(f"test_{uuid4().hex}")
    return address


def loss_of(key: int) -> Fraction:
    return key + Fraction(1, 2)


async def send_all(targets: list[str], count: int) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(target, timeout=SECONDS)) for target in targets]
        runs = [await client.run(NAME, loss="nll_loss") for client in clients]
        keys = iter(range(count))

        async def send() -> None:
            for key in keys:
                rows = np.array([[-float(loss_of(key))]]), np.array([0])
                answers = await asyncio.gather(*(run.evaluate(*rows, key=str(key)) for run in runs))
                assert sorted(answer.was_counted for answer in answers) == [False, True]

        await asyncio.gather(*(send() for _ in range(TOGETHER)))
        for run in runs:
            result = await run.finish(count=count)
            assert result.row_count == count
            assert result.sums.loss.fraction == sum(map(loss_of, range(count)))
            assert result.sums.loss_squared.fraction == sum(loss_of(key) ** 2 for key in range(count))


@pytest.mark.slow
def test_same_key_at_the_same_moment_counts_once(place):
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(runs=place)).port for _ in range(2)]
        asyncio.run(send_all([f"127.0.0.1:{port}" for port in ports], 300))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_same_key_counts_once_in_two_processes(place):
    with ExitStack() as stack:
        settings = {"runs": place, "metrics": False, "access_log_per_second": 0}
        targets = [stack.enter_context(launch(**settings)).target for _ in range(2)]
        asyncio.run(send_all(targets, 10_000))
