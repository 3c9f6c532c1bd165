"""One request to one answer: plan, and once it is evaluated, encode. Knows messages and tensors, nothing of gRPC."""

from collections.abc import Callable
from functools import partial

import ce_engine
from losswire import v1
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.encoding import fill, refer
from losswire_server.requests.planning import plan
from losswire_server.requests.shared_memory import destination, reader

TENSORS = {tensor.field: tensor.name for tensor in RESULT_TENSORS if tensor.name != "grad"}  # by their fields

Respond = Callable[[ce_engine.LossResult], v1.EvaluateResponse]


def plan_request(request: v1.EvaluateRequest, regions: Regions = OFF) -> tuple[ce_engine.Slab, Respond]:
    """Plans a request. Returns its slab, and a function that turns the slab's result into the answer.

    Neither of them holds the request, whose memory protobuf frees only as a whole.

    Raises:
        FieldError: A field is wrong; nothing was computed.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    slab, gradient = plan(request, reader(regions)), request.outputs.gradient
    place = destination(gradient, slab, regions)
    if place is None:
        return slab, partial(to_response, span=None)
    span = v1.SharedMemorySpan()
    span.CopyFrom(gradient.destination)
    return slab.with_grad_into(place), partial(to_response, span=span)


def to_response(
    result: ce_engine.LossResult,
    span: v1.SharedMemorySpan | None,  # where the gradient lies
) -> v1.EvaluateResponse:
    response = v1.EvaluateResponse(**{name: getattr(result, name) for name in RESULT_NUMBERS})
    for field, name in TENSORS.items():
        tensor = getattr(result, name)
        if tensor is not None:
            fill(getattr(response, field), tensor)
    if result.grad is not None and span is not None:
        refer(response.gradient, result.grad, span)
    elif result.grad is not None:
        fill(response.gradient, result.grad)
    return response
