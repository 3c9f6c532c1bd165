"""One request to one answer: plan, evaluate, encode. Knows messages and tensors, nothing of gRPC."""

import ce_engine
from losswire import v1
from losswire_server.encoding import fill
from losswire_server.planning import plan


def evaluate(request: v1.EvaluateRequest) -> v1.EvaluateResponse:
    """Evaluates a request.

    Raises:
        FieldError: A field is wrong; nothing was computed.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    return to_response(ce_engine.evaluate(plan(request)))


def to_response(result: ce_engine.LossResult) -> v1.EvaluateResponse:
    response = v1.EvaluateResponse(
        loss_sum=result.loss_sum,
        weight_sum=result.weight_sum,
        row_count=result.row_count,
        ignored_count=result.ignored_count,
        correct_count=result.correct_count,
    )
    for message, tensor in (
        (response.loss, result.loss),
        (response.log_sum_exp, result.lse),
        (response.predictions, result.predictions),
        (response.probabilities, result.probabilities),
        (response.log_probabilities, result.log_probabilities),
        (response.gradient, result.grad),
    ):
        if tensor is not None:
            fill(message, tensor)
    return response
