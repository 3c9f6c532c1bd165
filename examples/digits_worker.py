"""A worker of the digits example: a small network in numpy, whose losses and gradients come from Losswire."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire_client import Client

Array = npt.NDArray[Any]
Parameters = list[Array]

PIXELS, HIDDEN, DIGITS = 64, 64, 10
BATCH_ROWS = 48


@dataclass(frozen=True)
class Rows:
    """Pixels (N, 64) in [0, 1] and the digits they show (N)."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Answer:
    """A worker's sums and gradient for its rows, and how long the call took."""

    loss_sum: float
    weight_sum: float
    seconds: float
    gradient: Parameters


def initial_parameters(rng: np.random.Generator) -> Parameters:
    def layer(inputs: int, outputs: int) -> Parameters:
        weights = rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)
        return [weights.astype(np.float32), np.zeros(outputs, np.float32)]

    return layer(PIXELS, HIDDEN) + layer(HIDDEN, DIGITS)


def forward(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    """The hidden layer, (N, HIDDEN), and the logits, (N, DIGITS)."""
    w1, b1, w2, b2 = parameters
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden, hidden @ w2 + b2


def backward(parameters: Parameters, x: Array, hidden: Array, logits_grad: Array) -> Parameters:
    hidden_grad = (logits_grad @ parameters[2].T) * (hidden > 0)
    return [x.T @ hidden_grad, hidden_grad.sum(0), hidden.T @ logits_grad, logits_grad.sum(0)]


class Worker:
    """Holds its share of the rows, which no other worker sees."""

    def __init__(self, target: str, train: Rows, held_out: Rows, seed: int) -> None:
        self._client = Client(target, retry=None)  # the server is on this machine, and starts before the worker
        self._train, self._held_out = train, held_out
        self._rng = np.random.default_rng(seed)

    def train(self, parameters: Parameters) -> Answer:
        chosen = self._rng.choice(len(self._train.y), BATCH_ROWS, replace=False)
        return self._evaluate(parameters, self._train.x[chosen], self._train.y[chosen], "train", grad=True)

    def held_out(self, parameters: Parameters) -> Answer:
        return self._evaluate(parameters, self._held_out.x, self._held_out.y, "held-out", grad=False)

    def _evaluate(self, parameters: Parameters, x: Array, y: Array, series: str, *, grad: bool) -> Answer:
        hidden, logits = forward(parameters, x)
        start = time.perf_counter()
        result = self._client.cross_entropy(logits, y, reduction="sum", grad=grad, series=series)
        seconds = time.perf_counter() - start
        gradient = [] if result.grad is None else backward(parameters, x, hidden, result.grad)
        return Answer(result.loss_sum, result.weight_sum, seconds, gradient)


class Fleet:
    """Worker processes, and the seconds of their calls. Every request goes to all workers at once."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = connections
        self.seconds: list[float] = []

    def ask(self, method: str, parameters: Parameters) -> list[Answer]:
        for connection in self._connections:
            connection.send((method, parameters))
        try:
            answers: list[Answer] = [connection.recv() for connection in self._connections]
        except EOFError:
            raise SystemExit("A worker has ended; what it said is above.") from None
        self.seconds += [answer.seconds for answer in answers]
        return answers


@contextmanager
def start_fleet(target: str, train: list[Rows], held_out: list[Rows]) -> Iterator[Fleet]:
    """Starts a worker for each share, and ends them all when the block ends."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the workers, which share the machine's cores
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    connections, processes = [], []
    for seed, shares in enumerate(zip(train, held_out, strict=True)):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, target, *shares, seed), daemon=True)
        process.start()
        theirs.close()  # so that only the worker holds its end, which closes when the worker exits
        connections.append(ours)
        processes.append(process)
    try:
        yield Fleet(connections)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(connection: Connection, *args: Any) -> None:
    worker = Worker(*args)
    while True:
        method, parameters = connection.recv()
        connection.send(getattr(worker, method)(parameters))
