"""Many evaluations with a window of them in flight. Results come in the order of the items."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from losswire_client._errors import invalid_argument, shown
from losswire_client._many.batches import Coming, naming, taken, taken_async

T = TypeVar("T")


def checked_window(window: int) -> int:
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise invalid_argument("window", f"expected a whole number of at least 1, got {shown(window)}")
    return window


def evaluate_in_threads(
    evaluate: Callable[[Any], T], items: Iterable[object], window: int, size: int = 1
) -> Iterator[T]:
    """Takes an item of `size` batches for each result that is taken, so that at most a window of items is in memory."""
    threads = ThreadPoolExecutor(window, "losswire-map")
    in_flight = deque[tuple[int, Future[T]]]()
    try:
        for number, item in enumerate(taken(items)):
            in_flight.append((number * size, threads.submit(copy_context().run, evaluate, item)))  # as tasks have it
            if len(in_flight) == window:
                yield _result(*in_flight.popleft())
        while in_flight:
            yield _result(*in_flight.popleft())
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # a caller that stops need not wait


async def evaluate_in_tasks(
    evaluate: Callable[[Any], Coroutine[Any, Any, T]], items: Coming[object], window: int, size: int = 1
) -> AsyncGenerator[T, None]:
    """Like `evaluate_in_threads`, in the running event loop."""
    in_flight = deque[tuple[int, asyncio.Task[T]]]()
    number = 0
    try:
        async for item in taken_async(items):
            in_flight.append((number, asyncio.create_task(_evaluated(evaluate, item))))
            number += size
            if len(in_flight) == window:
                yield await _awaited_result(*in_flight.popleft())
        while in_flight:
            yield await _awaited_result(*in_flight.popleft())
    finally:
        for _, task in in_flight:
            task.cancel()
        await asyncio.gather(*(task for _, task in in_flight), return_exceptions=True)


async def _evaluated(evaluate: Callable[[Any], Coroutine[Any, Any, T]], item: object) -> T:
    return await evaluate(item)  # the call itself may raise, here within the task


def _result(number: int, future: Future[T]) -> T:
    with naming(number):
        return future.result()


async def _awaited_result(number: int, task: asyncio.Task[T]) -> T:
    with naming(number):
        return await task
