"""Evaluations of mixed sizes, losses and transports, as a server sees them on a long day. Some of them fail."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import grpc
import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import Client, LosswireError

SHAPES = ((32, 10), (256, 100), (64, 1000), (256, 1000), (512, 2000), (64, 32_000))  # up to 8.2 MB of float32
SHARES = (40, 20, 15, 12, 8, 5)  # of each shape, in percent
TRANSPORTS = ("auto", "unary", "stream", "shared_memory")
LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
REDUCTIONS = ("none", "mean", "sum")
WRONG, LATE, CANCELLED = 0.05, 0.03, 0.02  # shares of evaluations that fail in this way
SHORT_SECONDS = (0.0002, 0.001, 0.003)  # even the longest is over before a large batch has arrived

Arrays = dict[str, npt.NDArray[Any]]


class Outcome(NamedTuple):
    kind: str  # answered, or the name of the error
    transport: str


class Mix:
    """Makes random evaluations. The same seed gives the same evaluations."""

    def __init__(self, target: str, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._arrays = {shape: _arrays(*shape) for shape in SHAPES}  # made once, so that the mix allocates none later
        self._open = ExitStack()
        # One connection: gRPC's channels of one process share it if they have the same target and options.
        self._clients = {name: self._open.enter_context(Client(target, transport=name)) for name in TRANSPORTS}
        self._stub = LossServiceStub(self._open.enter_context(grpc.insecure_channel(target)))

    def evaluate(self) -> Outcome:
        """One evaluation, whose result is dropped."""
        fate, transport = self._random.random(), self._random.choice(TRANSPORTS)
        arrays = self._arrays[self._random.choices(SHAPES, SHARES)[0]]
        if fate < CANCELLED:
            return Outcome(self._cancelled(arrays), "unary")
        options: dict[str, Any] = {}
        if fate < CANCELLED + LATE:
            options["timeout"] = self._random.choice(SHORT_SECONDS)
        wrong = 1 - fate < WRONG
        return Outcome(self._outcome(self._call(transport, arrays, wrong=wrong), options), transport)

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, transport: str, arrays: Arrays, *, wrong: bool) -> Callable[..., object]:
        loss = "cross_entropy" if wrong else self._random.choice(LOSSES)
        target = "wrong" if wrong else "probabilities" if loss.startswith("binary") else "classes"
        x = "probabilities" if loss == "binary_cross_entropy" else "logits"
        method = getattr(self._clients[transport], loss)
        grad, reduction = self._random.random() < 0.5, self._random.choice(REDUCTIONS)
        return lambda **options: method(arrays[x], arrays[target], reduction=reduction, grad=grad, **options)

    def _outcome(self, call: Callable[..., object], options: dict[str, Any]) -> str:
        try:
            call(**options)
        except LosswireError as error:
            return type(error).__name__
        return "answered"

    def _cancelled(self, arrays: Arrays) -> str:
        """Calls the stub, since calls of the SDK end with their answer or their deadline."""
        request = v1.EvaluateRequest()
        request.spec.cross_entropy.SetInParent()
        request.spec.reduction = v1.Reduction.REDUCTION_SUM
        encode(arrays["logits"], request.input, "input")
        encode(arrays["classes"], request.target, "target")
        self._stub.Evaluate.future(request).cancel()
        return "cancelled"


def _arrays(rows: int, classes: int) -> Arrays:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((rows, classes), np.float32)
    targets = rng.integers(classes, size=rows)
    wrong = targets.copy()
    wrong[-1] = classes  # it is found after all targets before it
    return {"logits": logits, "probabilities": 1 / (1 + np.exp(-logits)), "classes": targets, "wrong": wrong}
