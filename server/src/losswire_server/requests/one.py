"""One request to one answer: plan, and once it is evaluated, encode. Knows messages and tensors, nothing of gRPC."""

from collections.abc import Callable
from functools import partial

import ce_engine
from losswire import v1
from losswire.fields import field_of, tensors_in
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire.payloads import NO_PAYLOADS, Payloads
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.answer import Answer
from losswire_server.requests.encoding import refer
from losswire_server.requests.heads.named import NamedHeads
from losswire_server.requests.needed import Reserve, needed_bytes, unreserved
from losswire_server.requests.planning import nothing_to_prepare, plan, summing
from losswire_server.requests.runs.exact import Exact, exactness
from losswire_server.requests.shared_memory import destination, reader

TENSORS = {tensor.field: tensor.name for tensor in RESULT_TENSORS if tensor.name != "grad"}  # by their fields

Respond = Callable[[ce_engine.LossResult], Answer]


def plan_request(
    request: v1.EvaluateRequest,
    regions: Regions = OFF,
    payloads: Payloads = NO_PAYLOADS,
    reserve: Reserve = unreserved,
    held: UsesHeads = NO_HEADS,
) -> tuple[ce_engine.Slab, Respond]:
    """Plans a request. Returns its slab, and a function that turns the slab's result into the answer.

    Neither of them holds the request, whose memory protobuf frees only as a whole.

    Args:
        request: It may lack elements of large tensors.
        regions: Of shared memory.
        payloads: The elements that it lacks.
        reserve: Holds what the request takes, before anything is allocated.
        held: The heads of the server. The request names them by their digests from then on.

    Raises:
        FieldError: A field is wrong; nothing was computed.
        NotServedError: A field is right, but asks for what this server does not serve.
        HeadNotFoundError: It names a head that is not held here.
        Exception: Of `reserve`.
    """
    prepare = partial(_prepare, request, regions, payloads, reserve)
    slab = plan(request, reader(regions, payloads), nothing_to_prepare if reserve is unreserved else prepare, held)
    gradient, exact, with_exact = request.outputs.gradient, exactness(request), request.HasField("exact")
    place = destination(gradient, slab, regions)
    if place is None:
        return summing(slab, exact), partial(to_answer, span=None, with_exact=with_exact)
    span = v1.SharedMemorySpan()
    span.CopyFrom(gradient.destination)
    return summing(slab.with_grad_into(place), exact), partial(to_answer, span=span, with_exact=with_exact)


def _prepare(
    request: v1.EvaluateRequest, regions: Regions, payloads: Payloads, reserve: Reserve, heads: NamedHeads
) -> None:
    for name, tensor in tensors_in(request):
        if tensor.HasField("shared_memory"):
            regions.check(tensor, f"{field_of(name, request.spec)}.shared_memory")
    reserve(needed_bytes(request, payloads, heads))


def to_answer(
    result: ce_engine.LossResult,
    span: v1.SharedMemorySpan | None,  # where the gradient lies
    with_exact: bool,  # whether exact sums are answered, and not only counted in a run
) -> Answer:
    answer = Answer(v1.EvaluateResponse(**{name: getattr(result, name) for name in RESULT_NUMBERS}), [])
    for field, name in TENSORS.items():
        tensor = getattr(result, name)
        if tensor is not None:
            answer.add(field, tensor)
    if result.grad is not None and span is not None:
        refer(answer.response.gradient, result.grad, span)
    elif result.grad is not None:
        answer.add("gradient", result.grad)
    if with_exact and (exact := Exact.of(result)) is not None:
        exact.fill(answer.response)
    return answer
