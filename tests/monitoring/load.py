"""Calls of every kind, for dashboards that must show all of them."""

import itertools
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from losswire.losses import LOSSES
from losswire_client import TLS, Client, ConflictError, Head, LosswireError

_DTYPES = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)
_RNG = np.random.default_rng(0)
_TARGET = _RNG.integers(5, size=8)
_LOGITS = _RNG.standard_normal((8, 5))
_LARGE = _RNG.standard_normal((64, 16000)).astype(np.float32)  # 4 MB: it waits in the queue
_CLASSES = np.where(np.arange(64) % 2, _LARGE.argmax(1), 0)
_INPUTS: dict[str, tuple[Any, ...]] = {
    "cross_entropy": (_LOGITS, _TARGET),
    "linear_cross_entropy": (_RNG.standard_normal((8, 3)), _RNG.standard_normal((5, 3)), _TARGET),  # of a head
    "kl_divergence": (_LOGITS, _RNG.standard_normal((8, 5))),
    "nll_loss": (-np.abs(_LOGITS), _TARGET),
    "binary_cross_entropy": (1 / (1 + np.exp(-_LOGITS)), (_LOGITS > 0).astype(float)),
    "binary_cross_entropy_with_logits": (_LOGITS, (_LOGITS > 0).astype(float)),
}


@dataclass(frozen=True)
class Caller:
    """How a server is reached.

    Attributes:
        target: Its address.
        ca: Who vouches for it, if it encrypts.
        token: What it knows the caller by, if it must.
        hasty: Another token, which permits one call a second.
    """

    target: str
    ca: Path | None = None
    token: str | None = None
    hasty: str | None = None

    def client(self, **options: Any) -> Client:
        tls = TLS(ca=self.ca) if self.ca else None
        return Client(self.target, tls=tls, **{"token": self.token, "timeout": 20, **options})


@contextmanager
def under_load(*callers: Caller) -> Iterator[None]:
    """Calls servers in the background, over and over, for the length of a block, which fails if a call does."""
    done = threading.Event()
    with ThreadPoolExecutor(len(callers)) as threads:
        rounds = [threads.submit(_call_until, done, caller) for caller in callers]
        try:
            yield
        finally:
            done.set()
        for each in rounds:
            each.result()


def _call_until(done: threading.Event, caller: Caller) -> None:
    transports = ("unary", "stream", "shared_memory")
    clients = {transport: caller.client(transport=transport) for transport in transports}
    pack = caller.client(coalesce=True)
    for turn in itertools.count():
        if done.is_set():
            break
        for transport, client in clients.items():
            _every_form(client, transport)
        _together(pack)
        _odd(clients["unary"])
        _keyed(clients["unary"], turn)
        _wrong(caller, clients["unary"])
    for client in (*clients.values(), pack):
        client.close()


def _every_form(client: Client, transport: str) -> None:
    for loss, dtype in itertools.product(LOSSES, _DTYPES):
        values, *others = _inputs(loss, dtype)
        if transport == "shared_memory":  # otherwise short requests are sent
            resident = client.empty(values.shape, dtype)
            resident[...] = values
            values = resident
        getattr(client, loss)(values, *others, grad=True, series=f"{transport}-{loss}")
    client.cross_entropy(_LARGE, _CLASSES, outputs=["predictions"], series="large")
    client.capabilities()


def _inputs(loss: str, dtype: Any) -> list[Any]:
    """The arguments of a loss, of which those that are no classes have the dtype."""
    arguments: list[Any] = [each.astype(dtype) if each.dtype.kind == "f" else each for each in _INPUTS[loss]]
    if loss == "linear_cross_entropy":
        arguments[1] = Head(arguments[1])
    return arguments


def _together(client: Client) -> None:
    """Small evaluations at the same time, which travel in one message."""
    with ThreadPoolExecutor(8) as threads:
        for loss, dtype in itertools.product(LOSSES, _DTYPES):
            arguments = _inputs(loss, dtype)
            calls = [threads.submit(getattr(client, loss), *arguments, series="pack") for _ in range(8)]
            for call in calls:
                call.result()


def _keyed(client: Client, turn: int) -> None:
    """A key that counts, the same again, and the same with other numbers. All servers add to one run."""
    run = client.run("live", expected_keys=10**6)
    key = f"{client.target}/{turn}"
    for logits in (_LOGITS, _LOGITS, -_LOGITS):
        with suppress(ConflictError):
            run.cross_entropy(logits, _TARGET, key=key)


def _odd(client: Client) -> None:
    """Rows that are ignored or not finite, losses below zero, and weights that no mean can have."""
    client.cross_entropy(_LOGITS, np.where(_TARGET == 0, -100, _TARGET), series="ignored")
    client.cross_entropy([[math.nan, 1.0], [2.0, 1.0]], [0, 1], series="nonfinite")
    client.nll_loss([[0.5, 1.5]], [1], series="negative")
    client.cross_entropy(_LOGITS, _TARGET, weight=[2.0**41] * 5, series="unsummed")


def _wrong(caller: Caller, client: Client) -> None:
    """Calls that the server refuses: a wrong class, no time, an unknown token, and too many calls."""
    with suppress(LosswireError):
        client.nll_loss(-np.abs(_LOGITS), np.full(8, 7))
    with suppress(LosswireError):
        client.cross_entropy(_LARGE, _CLASSES, timeout=0.002)
    for token in ("unknown", caller.hasty):
        if token and caller.ca:
            with suppress(LosswireError), caller.client(token=token, retry=None) as other:
                for _ in range(5):
                    other.cross_entropy(_LOGITS, _TARGET)
