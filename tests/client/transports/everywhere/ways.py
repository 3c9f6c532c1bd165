"""One evaluation by every transport, whose answers have the same bits."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire_client import Client, Result
from losswire_server import Server
from tests.helpers import total

TRANSPORTS = ("unary", "stream", "shared_memory")
PACKED = 3  # requests of a pack
ARGUMENTS: Mapping[str, tuple[str, ...]] = {"linear_cross_entropy": ("input", "head", "target")}


class Everywhere:
    """Clients of one server, one for each transport, and one that sends packs."""

    def __init__(self, server: Server) -> None:
        self._server, self._open = server, ExitStack()
        target = f"127.0.0.1:{server.port}"
        self.clients = {name: self._open.enter_context(Client(target, transport=name)) for name in TRANSPORTS}
        self._packing = self._open.enter_context(Client(target, coalesce=True))

    def __call__(self, loss: str, *arguments: Any, **options: Any) -> Result:
        """The answer to an evaluation, which is the same by all transports."""
        ways: dict[str, Callable[[], list[Result]]] = {
            name: lambda client=client: [getattr(client, loss)(*arguments, **options)]  # type: ignore[misc]
            for name, client in self.clients.items()
        }
        names = ARGUMENTS.get(loss, ("input", "target"))
        batch = dict(zip(names, arguments, strict=True))
        ways["pack"] = lambda: list(self._packing.map([batch] * PACKED, loss=loss, **options))
        first, *others = ((name, result) for name, way in ways.items() for result in way())
        for name, other in others:
            assert_same(first[1], other, name)
        return first[1]

    def evaluations(self, loss: str) -> dict[str, float]:
        """How many requests came by each transport so far, as the server counts them."""
        counted = partial(total, self._server.registry, "losswire_evaluations_total", loss=loss)
        return {name: counted(transport=name) for name in (*TRANSPORTS, "pack")}

    def close(self) -> None:
        self._open.close()


def assert_same(a: Result, b: Result, way: str) -> None:
    """Checks that two answers have the same bits; a NaN is a NaN."""
    for tensor in RESULT_TENSORS:
        x, y = getattr(a, tensor.name), getattr(b, tensor.name)
        assert (x is None) == (y is None), (way, tensor.name)
        if x is not None:
            np.testing.assert_array_equal(x, y, f"{tensor.name} by {way}", strict=True)
    for name in RESULT_NUMBERS:
        x, y = getattr(a, name), getattr(b, name)
        assert x == y or (x != x and y != y), (way, name, x, y)
    assert a.exact == b.exact, way
