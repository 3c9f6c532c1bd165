"""One request to one answer: decode, evaluate, encode. Knows messages and tensors, nothing of gRPC."""

import ce_engine
from losswire import v1
from losswire.tensors import FieldError
from losswire_server.decoding import to_torch
from losswire_server.encoding import fill
from losswire_server.request_check import check_request

REDUCTIONS = {
    v1.Reduction.REDUCTION_NONE: "none",
    v1.Reduction.REDUCTION_MEAN: "mean",
    v1.Reduction.REDUCTION_SUM: "sum",
}
WEIGHT = "spec.cross_entropy.weight"
GRAD_OUTPUT = "outputs.gradient.grad_output"
FIELDS = {  # the engine's arguments that a request can get wrong, and where they come from
    "input": "input",
    "target": "target",
    "weight": WEIGHT,
    "label_smoothing": "spec.cross_entropy.label_smoothing",
    "grad_output": GRAD_OUTPUT,
}


def evaluate(request: v1.EvaluateRequest) -> v1.EvaluateResponse:
    """Evaluates a request.

    Raises:
        FieldError: A field is wrong; nothing was computed.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    check_request(request)
    try:
        return _to_response(_cross_entropy(request))
    except ce_engine.InvalidArgumentError as error:
        raise FieldError(FIELDS[error.argument], error.problem) from error


def _cross_entropy(request: v1.EvaluateRequest) -> ce_engine.LossResult:
    spec, gradient = request.spec.cross_entropy, request.outputs.gradient
    return ce_engine.cross_entropy(
        to_torch(request.input, "input"),
        to_torch(request.target, "target"),
        to_torch(spec.weight, WEIGHT) if spec.HasField("weight") else None,
        ignore_index=spec.ignore_index if spec.HasField("ignore_index") else -100,
        reduction=REDUCTIONS[request.spec.reduction],
        label_smoothing=spec.label_smoothing,
        grad=request.outputs.HasField("gradient"),
        grad_output=to_torch(gradient.grad_output, GRAD_OUTPUT) if gradient.HasField("grad_output") else None,
        empty="zero" if request.spec.zero_when_empty else "nan",
    )


def _to_response(result: ce_engine.LossResult) -> v1.EvaluateResponse:
    response = v1.EvaluateResponse(
        loss_sum=result.loss_sum,
        weight_sum=result.weight_sum,
        row_count=result.row_count,
        ignored_count=result.ignored_count,
    )
    fill(response.loss, result.loss)
    if result.grad is not None:
        fill(response.gradient, result.grad)
    return response
