"""What a call does is written once, in coroutines that await a wire. Here they run over a wire that blocks."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns or raises, whose wire blocks, so that nothing in it ever suspends.

    Raises:
        RuntimeError: Something did, which is a fault of this package's.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    coroutine.close()
    raise RuntimeError("a call waits for an event loop, and a client that blocks has none: this is a fault of the SDK")
