"""One request to one answer: plan, evaluate, encode. Knows messages and tensors, nothing of gRPC."""

import ce_engine
from losswire import v1
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.encoding import fill, refer
from losswire_server.requests.planning import plan
from losswire_server.requests.shared_memory import destination, reader

TENSORS = {tensor.field: tensor.name for tensor in RESULT_TENSORS if tensor.name != "grad"}  # by their fields


def evaluate(request: v1.EvaluateRequest, regions: Regions = OFF) -> v1.EvaluateResponse:
    """Evaluates a request.

    Raises:
        FieldError: A field is wrong; nothing was computed.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    slab, gradient = plan(request, reader(regions)), request.outputs.gradient
    place = destination(gradient, slab, regions)
    return to_response(ce_engine.evaluate(slab, grad_into=place), gradient)


def to_response(result: ce_engine.LossResult, gradient: v1.GradientSpec) -> v1.EvaluateResponse:
    response = v1.EvaluateResponse(**{name: getattr(result, name) for name in RESULT_NUMBERS})
    for field, name in TENSORS.items():
        tensor = getattr(result, name)
        if tensor is not None:
            fill(getattr(response, field), tensor)
    if result.grad is not None and gradient.HasField("destination"):
        refer(response.gradient, result.grad, gradient.destination)
    elif result.grad is not None:
        fill(response.gradient, result.grad)
    return response
