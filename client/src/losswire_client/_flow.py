"""Calls are written once, as coroutines that await a wire. This module runs them over a wire that blocks."""

from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns or raises. Its wire blocks, so it never suspends.

    Raises:
        RuntimeError: The coroutine suspended, which is a fault of this package.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    coroutine.close()
    raise RuntimeError("a call waits for an event loop, and a client that blocks has none: this is a fault of the SDK")


def each(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """What an asynchronous generator gives, whose wire blocks."""
    try:
        while True:
            try:
                item = run(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
