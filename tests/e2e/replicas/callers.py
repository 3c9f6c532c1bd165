"""Callers in processes of their own, which compare every answer with float64. See `calling`.

Run as a program it is one of them: ``python -m tests.e2e.replicas.callers TARGET KIND``. It calls until its standard
input ends, and then prints what it has done as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import AsyncClient, Client
from tests.present import present
from tests.processes import started

SMALL, LARGE = (32, 10), (256, 4000)
KINDS_OF_SDK = ("small", "unary", "stream", "shared_memory", "async", "async_stream", "map", "torch")
STARTING = -1


class Batch(NamedTuple):
    """Logits and classes, with the loss and the gradient in float64."""

    logits: npt.NDArray[Any]
    target: npt.NDArray[Any]
    loss: float
    grad: npt.NDArray[Any]

    @classmethod
    def random(cls, rng: np.random.Generator, shape: tuple[int, int]) -> "Batch":
        import torch

        import ce_engine

        logits, target = rng.standard_normal(shape, np.float32), rng.integers(0, shape[1], shape[0])
        exact = ce_engine.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(target), grad=True)
        return cls(logits, target, float(exact.loss), present(exact.grad).numpy())

    def check(self, loss: float | npt.NDArray[Any], grad: npt.NDArray[Any] | None) -> None:
        assert abs(float(loss) / self.loss - 1) < 1e-6
        np.testing.assert_allclose(present(grad), self.grad, rtol=1e-5, atol=1e-8)


class Done(NamedTuple):
    """What a caller has done.

    Attributes:
        kind: Of caller.
        calls: Evaluations, all of them right.
        longest: Seconds that one took.
        error: What ended it too early; empty if nothing did.
    """

    kind: str
    calls: int
    longest: float
    error: str


class Caller:
    """Callers are functions that call `evaluated` after each evaluation, until `is_over`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.calls, self.longest = STARTING, 0.0
        self.is_over = False
        rng = np.random.default_rng(0)
        self.small = [Batch.random(rng, SMALL) for _ in range(16)]
        self.large = [Batch.random(rng, LARGE) for _ in range(3)]
        self._last = time.monotonic()

    def each(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Batches in turns, as long as there are to be calls."""
        while not self.is_over:
            for batch in batches:
                self._last = time.monotonic()
                yield batch
                self.evaluated(time.monotonic() - self._last)

    def evaluated(self, seconds: float) -> None:
        if self.calls == STARTING:
            tell("calling")
            self.calls, seconds = 0, 0.0
        self.calls += 1
        self.longest = max(self.longest, seconds)


def by_client(caller: Caller, transport: str, batches: Sequence[Batch], targets: int = 1) -> None:
    with Client([caller.target] * targets, transport=transport) as client:
        for batch in caller.each(batches):
            result = client.cross_entropy(batch.logits, batch.target, grad=True)
            batch.check(result.loss, result.grad)


def by_async(caller: Caller) -> None:
    async def call(client: AsyncClient, batches: Sequence[Batch]) -> None:
        for batch in caller.each(batches):
            result = await client.cross_entropy(batch.logits, batch.target, grad=True)
            batch.check(result.loss, result.grad)

    async def run() -> None:
        async with AsyncClient(caller.target, coalesce=True) as client:
            calls: list[Awaitable[None]] = [call(client, caller.small) for _ in range(4)]
            await asyncio.gather(*calls, call(client, caller.large))

    asyncio.run(run())


def by_async_stream(caller: Caller) -> None:
    async def run() -> None:
        async with AsyncClient(caller.target, transport="stream") as client:
            for batch in caller.each(caller.large):
                result = await client.cross_entropy(batch.logits, batch.target, grad=True)
                batch.check(result.loss, result.grad)

    asyncio.run(run())


def by_map(caller: Caller) -> None:
    with Client(caller.target) as client:
        while not caller.is_over:
            batches = caller.small * 4
            results = client.map(((batch.logits, batch.target) for batch in batches), grad=True)
            for batch, result in zip(batches, results, strict=True):
                batch.check(result.loss, result.grad)
                caller.evaluated(0.0)


def by_torch(caller: Caller) -> None:
    import torch

    from losswire_client import torch as drop_in

    os.environ["LOSSWIRE_TARGET"] = caller.target
    for batch in caller.each(caller.small):
        logits = torch.from_numpy(batch.logits).clone().requires_grad_()
        loss: Any = drop_in.cross_entropy(logits, torch.from_numpy(batch.target))
        loss.backward()
        batch.check(float(loss.detach()), present(logits.grad).numpy())


@contextmanager
def stub_of(caller: Caller) -> Iterator[tuple[LossServiceStub, dict[str, Any]]]:
    """A stub as any language's generated code has it, with no retries of its own, and the options of its calls."""
    options = [("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(Path(os.environ["LOSSWIRE_TLS_CA"]).read_bytes())
    metadata = (("authorization", f"Bearer {os.environ['LOSSWIRE_TOKEN']}"),)
    with grpc.secure_channel(caller.target, credentials, options) as channel:
        yield LossServiceStub(channel), {"timeout": 60, "metadata": metadata}


def by_stub(caller: Caller, batches: Sequence[Batch]) -> None:
    with stub_of(caller) as (stub, options):
        for batch in caller.each(batches):
            answer = stub.Evaluate(request_of(batch), **options)
            grad = np.frombuffer(answer.gradient.data, np.float32).reshape(batch.grad.shape)
            batch.check(answer.loss_sum / answer.weight_sum, grad)


def by_stub_in_slabs(caller: Caller) -> None:
    with stub_of(caller) as (stub, options):
        for batch in caller.each(caller.large):
            *slabs, last = stub.EvaluateStream(slabs_of(batch), **options)
            grad = np.frombuffer(b"".join(answer.slab.gradient for answer in slabs), np.float32)
            batch.check(last.summary.loss_sum / last.summary.weight_sum, grad.reshape(batch.grad.shape))


def slabs_of(batch: Batch) -> Iterator[v1.EvaluateStreamRequest]:
    """All targets in the header, and then the input in four slabs."""
    request = request_of(batch)
    data, rows = request.input.data, len(batch.logits) // 4
    request.input.ClearField("data")
    yield v1.EvaluateStreamRequest(header=request)
    for number in range(4):
        part = data[number * len(data) // 4 : (number + 1) * len(data) // 4]
        yield v1.EvaluateStreamRequest(slab=v1.Slab(first_row=number * rows, row_count=rows, input=part))


def request_of(batch: Batch) -> v1.EvaluateRequest:
    request = v1.EvaluateRequest(spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN))
    request.spec.cross_entropy.SetInParent()
    request.outputs.gradient.SetInParent()
    encode(batch.logits, request.input, "input")
    encode(batch.target, request.target, "target")
    return request


CALLERS: dict[str, Callable[[Caller], None]] = {
    "small": lambda caller: by_client(caller, "auto", caller.small),
    "unary": lambda caller: by_client(caller, "unary", caller.large),
    "spread": lambda caller: by_client(caller, "auto", caller.small, targets=2),
    "stream": lambda caller: by_client(caller, "stream", caller.large),
    "shared_memory": lambda caller: by_client(caller, "shared_memory", caller.large),
    "async": by_async,
    "async_stream": by_async_stream,
    "map": by_map,
    "torch": by_torch,
    "stub": lambda caller: by_stub(caller, caller.small),
    "stub_stream": by_stub_in_slabs,
    "stub_large": lambda caller: by_stub(caller, caller.large),
}


@contextmanager
def calling(target: str, kinds: Sequence[str], **environment: str) -> Iterator[list[Done]]:
    """Runs a caller of each kind for the length of a ``with`` block. The list has what each has done afterwards."""
    done: list[Done] = []
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        command = [sys.executable, "-m", __name__, target]
        callers = [
            stack.enter_context(started([*command, kind], env={**os.environ, **environment}, **pipes)) for kind in kinds
        ]
        for caller in callers:
            assert present(caller.stdout).readline() == "calling\n"
        yield done
        for caller in callers:
            present(caller.stdin).close()
        done += [Done(*json.loads(present(caller.stdout).readline())) for caller in callers]


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    target, kind = sys.argv[1:]
    caller, error = Caller(target), ""

    def wait_for_end() -> None:
        sys.stdin.read()
        caller.is_over = True

    threading.Thread(target=wait_for_end, daemon=True).start()
    try:
        CALLERS[kind](caller)
    except Exception as failure:  # noqa: BLE001 - the test reports it
        error = repr(failure)
    tell(json.dumps(Done(kind, caller.calls, caller.longest, error)))


if __name__ == "__main__":
    main()
