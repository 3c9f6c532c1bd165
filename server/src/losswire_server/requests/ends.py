"""How requests end, for the metrics that count them: what they were, and how many bytes they and their answers had."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import grpc

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.fields import tensors_in
from losswire.losses import loss_of

Transport = Literal["unary", "pack", "stream", "shared_memory"]


class Labels(NamedTuple):
    """The labels of a request, which may be wrong: then they are empty.

    Attributes:
        loss: Its name.
        series: As the request names it.
        dtype: Of the input.
        transport: How it came; shared memory if any of its tensors, or its gradient, lies there.
    """

    loss: str
    series: str
    dtype: str
    transport: Transport

    @classmethod
    def of(cls, request: v1.EvaluateRequest, transport: Transport) -> "Labels":
        element = BY_WIRE.get(request.input.dtype)
        lies_apart = shared_bytes(request) or request.outputs.gradient.HasField("destination")
        return cls(
            loss_of(request.spec),
            request.series,
            "" if element is None else element.name,
            "shared_memory" if lies_apart else transport,
        )


class Evaluated(NamedTuple):
    """Requests that were evaluated together, or one request alone.

    Attributes:
        labels: Which all of them have.
        responses: The answers to all of them.
        classes: How many their inputs have; 1 for the binary losses, 0 if not known.
        tally: Of the losses of their rows, of all requests together.
        received_bytes: Of all requests.
        sent_bytes: Of all answers.
        numbers: Of the requests in their message, from 0 on, where they may fail after they were evaluated.
        only: Gives some of them, by their places here; None if there is one alone.
    """

    labels: Labels
    responses: Sequence[v1.EvaluateResponse]
    classes: int = 0
    tally: ce_engine.Tally | None = None
    received_bytes: int = 0
    sent_bytes: int = 0
    numbers: Sequence[int] = ()
    only: "Callable[[Sequence[int]], Evaluated] | None" = None

    def without(self, failed: Mapping[int, grpc.StatusCode]) -> "Iterator[End]":
        """How they end if some requests, by their numbers, fail after all."""
        codes = [failed[number] for number in self.numbers if number in failed]
        yield from codes
        if not codes:
            yield self
        elif self.only is not None and len(codes) < len(self.numbers):
            yield self.only([place for place, number in enumerate(self.numbers) if number not in failed])


End = Evaluated | grpc.StatusCode  # a status stands for one failed request; the answer has its failure


def shared_bytes(request: v1.EvaluateRequest) -> int:
    """Bytes of the tensors of a request that lie in shared memory."""
    tensors = tensors_in(request) if loss_of(request.spec) else []
    return sum(tensor_bytes(tensor) for _, tensor in tensors if tensor.HasField("shared_memory"))


def answer_bytes(response: v1.EvaluateResponse, message_bytes: int) -> int:
    """Bytes of an answer: of its message, and of a gradient that lies in shared memory."""
    apart = response.gradient.HasField("shared_memory")
    return message_bytes + (tensor_bytes(response.gradient) if apart else 0)


def tensor_bytes(tensor: v1.Tensor) -> int:
    """Bytes of a tensor's elements by its form; 0 if it has no dtype that is known."""
    element = BY_WIRE.get(tensor.dtype)
    return 0 if element is None else element.itemsize * max(0, math.prod(tensor.shape))
