"""Evaluates every loss before the first caller comes, who would wait for kernels to be loaded or compiled otherwise."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import cache

import numpy as np
import torch

import ce_engine
from losswire import v1
from losswire.frames import REQUESTS
from losswire.losses import LOSSES, loss_of, options_of
from losswire.tensors import encode
from losswire_server.calls.evaluation import ANYBODY, Caller
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.heads.held import Held
from losswire_server.process.starting import CannotStartError, root_of

SMALL, LARGE = (32, 10), (128, 1000)  # a CPU evaluates one on the event loop, the other in the engine
SECONDS = 120.0  # in which a GPU's kernels are compiled, too

OneAnswer = Callable[[bytes, Caller], Awaitable[object]]
ManyAnswers = Callable[[AsyncIterator[bytes], Caller], AsyncIterator[object]]


class WarmUpHeads:
    """A head for hidden states of any width, which is its name."""

    CLASSES = 64

    @cache  # noqa: B019 - it lives as long as the warm-up
    def use(self, name: str, field: str) -> ce_engine.Head:  # noqa: ARG002 - it has one of any name
        return ce_engine.Head(torch.full((self.CLASSES, int(name)), 0.5))

    def find(self, name: str, field: str) -> Held:  # noqa: ARG002
        weight = v1.Tensor(shape=(self.CLASSES, int(name)))
        return Held(name, v1.Head(weight=weight), (), 0, 0.0, permanent=True)


class WarmUpError(CannotStartError):
    """This server cannot evaluate a loss."""


async def warm_up(unary: OneAnswer, stream: ManyAnswers, seconds: float = SECONDS) -> None:
    """Evaluates every loss on each way that requests take, and leaves the answers.

    Args:
        unary: Answers a message with one request.
        stream: Answers the messages of one stream.
        seconds: The longest that it may take.

    Raises:
        WarmUpError: A loss failed, or they took too long.
    """
    async with asyncio.timeout(seconds) as limit:
        for name, header in _headers():
            try:
                await _evaluate(header, unary, stream)
            except Exception as error:
                raise WarmUpError(f"warm-up: {name} failed: {root_of(error)}") from error
            except asyncio.CancelledError as error:
                if limit.expired():
                    raise WarmUpError(f"warm-up: {name} was not evaluated within {seconds:g} s") from error
                raise


async def _evaluate(header: v1.EvaluateRequest, unary: OneAnswer, stream: ManyAnswers) -> None:
    await unary(_with_elements(header, SMALL).SerializeToString(), ANYBODY)
    with suppress(OverloadedError, TooLargeError):  # the settings refuse it to callers, too
        await unary(_with_elements(header, LARGE).SerializeToString(), ANYBODY)
        async for _ in stream(_messages(header, LARGE), ANYBODY):
            pass


def _headers() -> Iterator[tuple[str, v1.EvaluateRequest]]:
    """A request without elements for each loss, by name."""
    for name in LOSSES:
        request = v1.EvaluateRequest(outputs=v1.OutputSpec(gradient=v1.GradientSpec()))
        request.spec.reduction = v1.Reduction.REDUCTION_MEAN
        getattr(request.spec, name).SetInParent()
        if name == "kl_divergence":
            request.spec.kl_divergence.divergence = v1.Divergence.DIVERGENCE_FORWARD
        yield name, request


def _with_elements(header: v1.EvaluateRequest, shape: tuple[int, int]) -> v1.EvaluateRequest:
    """All losses take a half as an input; binary losses and divergences as a target too, and the others class 0."""
    request = v1.EvaluateRequest()
    request.CopyFrom(header)
    loss = loss_of(header.spec)
    if loss == "linear_cross_entropy":
        options_of(request.spec).head = str(shape[1])
    halves = np.full(shape, 0.5, np.float32)
    encode(halves, request.input, "input")
    is_like_input = LOSSES[loss].elementwise or loss == "kl_divergence"
    encode(halves if is_like_input else np.zeros(shape[0], np.int64), request.target, "target")
    return request


async def _messages(header: v1.EvaluateRequest, shape: tuple[int, int]) -> AsyncIterator[bytes]:
    """The same request as a stream, whose input comes in one slab."""
    request = _with_elements(header, shape)
    data = request.input.data
    request.input.ClearField("data")
    yield v1.EvaluateStreamRequest(header=request).SerializeToString()
    rows = shape[0] * (shape[1] if LOSSES[loss_of(header.spec)].elementwise else 1)
    yield REQUESTS.write(0, rows, {"input": memoryview(data)})
