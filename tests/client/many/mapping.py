"""`map` of both kinds of clients."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from losswire_client import AsyncClient, Client, Result

BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])


def mapped(connected: Client | AsyncClient, *arguments: Any, **options: Any) -> Iterator[Result]:
    """The results of a client's `map`, which it closes."""
    if isinstance(connected, Client):
        with connected:
            yield from connected.map(*arguments, **options)
        return

    with asyncio.Runner() as runner:
        results: Any = connected.map(*arguments, **options)
        try:
            while True:
                yield runner.run(anext(results))
        except StopAsyncIteration:
            pass
        finally:
            runner.run(results.aclose())
            runner.run(connected.close())
