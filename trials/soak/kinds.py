"""The kinds of call of a long day. Each makes some calls, checks every answer, and tells how they ended."""

import asyncio
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, cast

import grpc
import numpy as np
import torch

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import AsyncClient, Client, LosswireError
from losswire_client import torch as losswire_torch
from trials.cases import LOSSES, SHAPES, SMALL, Case, cases, cases_of_models, head
from trials.fuzz.mutating import changed_bytes
from trials.peers.messages import request_of, unary
from trials.soak.command import Command
from trials.soak.ways import Reach

TIMEOUT = 60.0  # of a call with all its retries: a restart takes some seconds
LATE_SECONDS = (0.0002, 0.001, 0.003)
CASES, TOGETHER, LARGE_SHARE = 60, 8, 0.4
SINGLE_SHARE = 0.5  # of the turns, which are single evaluations
COMMAND_SHARE = 0.02  # of the turns: each takes as long as many others
LEASE_BYTES = 2**20
TRANSPORTS = ("auto", "unary", "stream", "shared_memory")

Ends = list[str]  # answered, or the name of the error


class Kinds:
    """All kinds of call, over connections that last. Connect it first, and close it at the end.

    Args:
        seed: Of the cases and their order.

    Attributes:
        kinds: Those that are no single evaluations, by their names.
    """

    def __init__(self, seed: int) -> None:
        self._reach: Reach | None = None
        self._rng = random.Random(seed)
        self._alias = f"soak/{seed}"
        self._small = cases(seed, SMALL, CASES)
        self._large = cases(seed + 1, SHAPES[len(SMALL) :], CASES // 5)
        self._of_models = cases_of_models(seed + 2, CASES)
        self._open = ExitStack()
        self._command = Command(seed)
        self.kinds: dict[str, Callable[[], Ends]] = {
            "map": lambda: self._mapped(self._clients[0]),
            "pack": lambda: self._mapped(self._coalescing),
            "async": lambda: asyncio.run(self._gathered([self._case() for _ in range(TOGETHER)])),
            "torch": self._torch,
            "models": lambda: [self._one(self._rng.choice(self._clients), self._rng.choice(self._of_models))],
            "head": self._head,
            "late": lambda: [self._one(self._clients[0], timeout=self._rng.choice(LATE_SECONDS))],
            "cancelled": self._cancelled,
            "wrong": self._wrong,
            "bytes": self._bytes,
            "lease": self._lease,
            "connection": self._connection,
        }

    def connect(self, reach: Reach) -> None:
        """Reaches a server, unless it is the one before."""
        if reach == self._reach:
            return
        self._open.close()
        enter, told = self._open.enter_context, reach.arguments()
        self._clients = [enter(Client(**told, transport=name, timeout=TIMEOUT)) for name in TRANSPORTS]
        self._coalescing = enter(Client(**told, coalesce=True, timeout=TIMEOUT))
        self._channel = enter(reach.channel())
        self._reach, self._told = reach, told

    def prepare(self) -> None:
        """Computes the true answers, so that the memory for them is no growth."""
        for case in (*self._small, *self._large, *self._of_models, self._command.case):
            case.prepare()

    def any(self) -> tuple[str, Ends]:
        """Some calls of any kind, and how each of them ended.

        Raises:
            WrongAnswerError: An answer is not the twin's.
        """
        if self._rng.random() < COMMAND_SHARE:
            return "command", self.command()
        if self._rng.random() < SINGLE_SHARE:
            number = self._rng.randrange(len(TRANSPORTS))
            return TRANSPORTS[number], [self._one(self._clients[number])]
        name = self._rng.choice(list(self.kinds))
        return name, self.kinds[name]()

    def close(self) -> None:
        self._open.close()
        self._command.close()

    def command(self) -> Ends:
        """An evaluation by the command, in a process of its own."""
        return [self._command.end(cast(Reach, self._reach))]

    def _case(self) -> Case:
        return self._rng.choice(self._large if self._rng.random() < LARGE_SHARE else self._small)

    def _one(self, client: Client, case: Case | None = None, **more: Any) -> str:
        """An evaluation."""
        case = case or self._case()
        arrays, options = case.arguments
        return _end(lambda: case.check(getattr(client, case.loss)(*arrays, **options, **more)))

    def _mapped(self, client: Client) -> Ends:
        """Several small evaluations: in flight together, or in one message."""
        loss = self._rng.choice(LOSSES)
        chosen = [case for case in self._small if case.loss == loss][:TOGETHER]
        batches = [{"input": case.input, "target": case.target, **case.arguments[1]} for case in chosen]

        def check() -> None:
            for case, result in zip(chosen, client.map(batches, loss=loss), strict=True):
                case.check(result)

        return [_end(check)] * len(chosen)

    async def _gathered(self, chosen: list[Case]) -> Ends:
        """Evaluations from one event loop, over a connection of its own."""
        async with AsyncClient(**self._told, timeout=TIMEOUT) as client:
            return list(await asyncio.gather(*(_awaited(client, case) for case in chosen)))

    def _torch(self) -> Ends:
        """A loss of PyTorch's, and its gradient by autograd."""
        x, target = torch.randn(32, 10), torch.randint(10, (32,))
        ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
        true = torch.nn.functional.cross_entropy(theirs, target)

        def check() -> None:
            loss = losswire_torch.cross_entropy(ours, target, client=self._clients[0])
            (grad,), (true_grad,) = torch.autograd.grad(loss, ours), torch.autograd.grad(true, theirs)
            torch.testing.assert_close(loss.double(), true, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(grad.double(), true_grad, rtol=1e-4, atol=1e-6)

        return [_end(check)]

    def _head(self) -> Ends:
        """A head that is registered under an alias, used by it, and deleted."""
        client, made = self._clients[0], head(np.random.default_rng(self._rng.getrandbits(32)))
        states, target = np.ones((4, made.width), np.float32), np.arange(4)
        case = Case("linear_cross_entropy", states, target, {"head": made})

        def check() -> None:
            client.register_head(made, self._alias)
            case.check(client.linear_cross_entropy(states, self._alias, target))
            client.delete_head(made.digest)

        return [_end(check)]

    def _cancelled(self) -> Ends:
        """A call that is cancelled at once: by the stub, since calls of the SDK end with their answer or deadline."""
        unary(self._channel).future(request_of(self._case())).cancel()
        return ["cancelled"]

    def _wrong(self) -> Ends:
        """A target that is no class, found after the others."""
        target = np.arange(64) % 100
        target[-1] = 100
        return [_end(lambda: self._clients[1].cross_entropy(np.zeros((64, 100), np.float32), target))]

    def _bytes(self) -> Ends:
        """A request with some bytes changed."""
        data = changed_bytes(request_of(self._small[0]), self._rng)
        call = unary(self._channel)
        return [_raw_end(lambda: call(data, timeout=TIMEOUT, wait_for_ready=True))]

    def _lease(self) -> Ends:
        """A region that is leased, and given back."""
        stub = LossServiceStub(self._channel)
        call: Any = stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=LEASE_BYTES), wait_for_ready=True)
        end = _raw_end(lambda: next(call))
        call.cancel()
        return [end]

    def _connection(self) -> Ends:
        """An evaluation by a client of its own."""
        with Client(**self._told, timeout=TIMEOUT) as client:
            return [self._one(client)]


async def _awaited(client: AsyncClient, case: Case) -> str:
    arrays, options = case.arguments
    try:
        result = await getattr(client, case.loss)(*arrays, **options)
    except LosswireError as error:
        return type(error).__name__
    case.check(result)
    return "answered"


def _end(call: Callable[[], object]) -> str:
    try:
        call()
    except LosswireError as error:
        return type(error).__name__
    return "answered"


def _raw_end(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "answered"
