"""Many batches, with a window of them in flight: results come in the batches' order."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

from losswire import v1
from losswire_client._errors import invalid_argument
from losswire_client._evaluation import check_choice

S = TypeVar("S")
T = TypeVar("T")

Batch: TypeAlias = Sequence[Any] | Mapping[str, Any]  # the first arguments of a loss, or any by their names
Coming: TypeAlias = Iterable[T] | AsyncIterable[T]

LOSSES = tuple(field.name for field in v1.LossSpec.DESCRIPTOR.oneofs_by_name["loss"].fields)


def evaluator(client: object, loss: str, options: Mapping[str, Any]) -> Callable[[Batch], Any]:
    """A client's loss as a function of a batch, with options that all batches have."""
    check_choice("loss", loss, LOSSES)
    function = partial(getattr(client, loss), **options)
    return lambda batch: function(**batch) if isinstance(batch, Mapping) else function(*batch)


def checked_window(window: int) -> int:
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise invalid_argument("window", f"expected a whole number of at least 1, got {window!r}")
    return window


def evaluate_in_threads(evaluate: Callable[[S], T], batches: Iterable[S], window: int) -> Iterator[T]:
    """Takes a batch as a result is taken, so that no more than a window of them is in memory."""
    threads = ThreadPoolExecutor(window, "losswire-map")
    in_flight = deque[tuple[int, Future[T]]]()
    try:
        for number, batch in enumerate(batches):
            in_flight.append((number, threads.submit(evaluate, batch)))
            if len(in_flight) == window:
                yield _result(*in_flight.popleft())
        while in_flight:
            yield _result(*in_flight.popleft())
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # whoever breaks off need not wait for what is in flight


async def evaluate_in_tasks(
    evaluate: Callable[[S], Coroutine[Any, Any, T]], batches: Coming[S], window: int
) -> AsyncGenerator[T, None]:
    """The same in the running event loop."""
    in_flight = deque[tuple[int, asyncio.Task[T]]]()
    try:
        async for number, batch in numbered(batches):
            in_flight.append((number, asyncio.create_task(evaluate(batch))))
            if len(in_flight) == window:
                yield await _awaited_result(*in_flight.popleft())
        while in_flight:
            yield await _awaited_result(*in_flight.popleft())
    finally:
        for _, task in in_flight:
            task.cancel()
        await asyncio.gather(*(task for _, task in in_flight), return_exceptions=True)


async def numbered(batches: Coming[S]) -> AsyncIterator[tuple[int, S]]:
    """Batches with their numbers, counted from 0, however they come."""
    if not isinstance(batches, AsyncIterable):
        for each in enumerate(batches):
            yield each
        return
    number = 0
    async for batch in batches:
        yield number, batch
        number += 1


def _result(number: int, future: Future[T]) -> T:
    with noting(number):
        return future.result()


async def _awaited_result(number: int, task: asyncio.Task[T]) -> T:
    with noting(number):
        return await task


@contextmanager
def noting(number: int) -> Iterator[None]:
    """Says in errors which batch they are of, counted from 0."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in batch {number}")
        raise
