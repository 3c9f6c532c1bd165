"""Measures many small calls from one process: one by one, and with ``coalesce=True``. Run: ``make bench-coalescing``.

All ways have the same number of batches of 32 x 10 in flight, against one server in a process of its own on this
machine, and take turns in one run.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
from rich.console import Console
from rich.table import Table

from losswire_client import AsyncClient, Client
from losswire_server import launch

RNG = np.random.default_rng(0)
BATCH = RNG.standard_normal((32, 10), np.float32), RNG.integers(0, 10, 32)
HEADINGS = ("way", "gradient", "one by one, /s", "together, /s", "ratio, median of turns", "least", "most")


@dataclass(frozen=True)
class Load:
    """The calls that a server gets.

    Attributes:
        target: The server.
        count: Evaluations.
        in_flight: How many of them at a time.
        grad: Whether with the gradient.
    """

    target: str
    count: int
    in_flight: int
    grad: bool


def main() -> None:
    arguments = parse_arguments()
    turns, count = (2, 320) if arguments.smoke else (arguments.turns, 6400)
    table = Table(*HEADINGS, title=f"32 x 10 float32, {arguments.in_flight} in flight", title_justify="left")
    with launch() as server:
        for name, rate in WAYS.items():
            for grad in (False, True):
                load = Load(server.target, count, arguments.in_flight, grad)
                table.add_row(name, "yes" if grad else "no", *compare(partial(rate, load), turns))
        alone = latencies(server.target)
    console = Console(width=130)
    console.print(table)
    console.print("one caller alone, median: {:.0f} us, and {:.0f} us with coalesce=True".format(*alone))
    console.print(f"one call after another: {1e6 / alone[0]:,.0f} evaluations a second")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=32, help="calls at a time (32)")
    parser.add_argument("--turns", type=int, default=7, help="of each way (7)")
    parser.add_argument("--smoke", action="store_true", help="little of all: shows that it works, no more")
    return parser.parse_args()


def compare(rate: Callable[[bool], float], turns: int) -> list[str]:
    """A row of the table, without its first two cells."""
    pairs = [(rate(False), rate(True)) for _ in range(turns)]
    ratios = sorted(together / alone for alone, together in pairs)
    rates = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        *(f"{each:,.0f}" for each in rates),
        *(f"{r:.1f}" for r in (statistics.median(ratios), ratios[0], ratios[-1])),
    ]


def by_threads(load: Load, coalesce: bool) -> float:
    def work(calls: int) -> None:
        for _ in range(calls):
            client.cross_entropy(*BATCH, grad=load.grad)

    with Client(load.target, coalesce=coalesce) as client, ThreadPoolExecutor(load.in_flight) as threads:
        list(threads.map(work, repeat(3, load.in_flight)))  # connects, and starts the threads
        with timed(load) as rates:
            list(threads.map(work, repeat(load.count // load.in_flight, load.in_flight)))
    return rates[0]


def by_map(load: Load, coalesce: bool) -> float:
    with Client(load.target, coalesce=coalesce) as client:
        client.cross_entropy(*BATCH)
        with timed(load) as rates:
            for _ in client.map(repeat(BATCH, load.count), window=load.in_flight, grad=load.grad):
                pass
    return rates[0]


def by_tasks(load: Load, coalesce: bool) -> float:
    async def work(client: AsyncClient, calls: int) -> None:
        for _ in range(calls):
            await client.cross_entropy(*BATCH, grad=load.grad)

    async def run(client: AsyncClient) -> None:
        await asyncio.gather(*(work(client, load.count // load.in_flight) for _ in range(load.in_flight)))

    return asyncio.run(timed_async(load, coalesce, run))


def by_async_map(load: Load, coalesce: bool) -> float:
    async def run(client: AsyncClient) -> None:
        async for _ in client.map(repeat(BATCH, load.count), window=load.in_flight, grad=load.grad):
            pass

    return asyncio.run(timed_async(load, coalesce, run))


WAYS: dict[str, Callable[[Load, bool], float]] = {
    "threads of a Client": by_threads,
    "Client.map": by_map,
    "tasks of an AsyncClient": by_tasks,
    "AsyncClient.map": by_async_map,
}


async def timed_async(load: Load, coalesce: bool, run: Callable[[AsyncClient], Awaitable[None]]) -> float:
    async with AsyncClient(load.target, coalesce=coalesce) as client:
        await client.cross_entropy(*BATCH)
        with timed(load) as rates:
            await run(client)
    return rates[0]


@contextmanager
def timed(load: Load) -> Iterator[list[float]]:
    """Gives a list, to which it adds the evaluations a second when they are over."""
    rates: list[float] = []
    start = time.perf_counter()
    yield rates
    rates.append(load.count / (time.perf_counter() - start))


def latencies(target: str, count: int = 400) -> list[float]:
    """Microseconds of one call after another: the medians of both ways, which take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    with Client(target) as one_by_one, Client(target, coalesce=True) as together:
        for _ in range(count):
            for client, taken in zip((one_by_one, together), times, strict=True):
                start = time.perf_counter()
                client.cross_entropy(*BATCH)
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) * 1e6 for taken in times]


if __name__ == "__main__":
    main()
