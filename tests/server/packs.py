"""Packs of right and wrong requests."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, tag, varint
from losswire_server.requests.encoding import fill
from tests.ce_engine.helpers import FLOATS, PROBLEMS, SHAPES, Problem, loss_shape, problem
from tests.present import present

MEAN, NONE = v1.Reduction.REDUCTION_MEAN, v1.Reduction.REDUCTION_NONE
OUTPUTS = v1.Output.values()[1:]
OF_TARGETS = (v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES, v1.Output.OUTPUT_TARGET_RANKS)
MOST_TOP = 3


def packed(requests: Sequence[v1.EvaluateRequest | bytes]) -> bytes:
    """A BatchEvaluateRequest of requests, or of any bytes."""
    parts = [request if isinstance(request, bytes) else request.SerializeToString() for request in requests]
    return b"".join(tag(1, LENGTH_DELIMITED) + varint(len(part)) + part for part in parts)


def small(seed: int = 0, rows: int = 32, **fields: Any) -> v1.EvaluateRequest:
    """A request with 10 classes, as for handwritten digits."""
    generator = torch.Generator().manual_seed(seed)
    request = v1.EvaluateRequest(spec=v1.LossSpec(reduction=MEAN, cross_entropy=v1.CrossEntropy()), **fields)
    fill(request.input, torch.randn(rows, 10, generator=generator))
    fill(request.target, torch.randint(10, (rows,), generator=generator))
    return request


@st.composite
def alike(draw: st.DrawFn) -> list[v1.EvaluateRequest]:
    """Requests of any kind that differ only in the elements of their own tensors."""
    kind, (shape, _) = draw(st.sampled_from(PROBLEMS)), draw(st.sampled_from(list(SHAPES.values())))
    one = problem(kind, shape, draw(st.sampled_from(FLOATS)))
    form = draw(forms(one))
    torch.manual_seed(draw(st.integers(0, 2**32)))
    weighted = draw(st.booleans())
    return [with_elements(form, one, weighted=weighted) for _ in range(draw(st.integers(1, 5)))]


@st.composite
def forms(draw: st.DrawFn, one: Problem) -> v1.EvaluateRequest:
    spec: dict[str, Any] = {one.loss: {}}
    form = v1.EvaluateRequest(spec=v1.LossSpec(**spec), series=draw(st.sampled_from(["", "train"])))
    form.spec.reduction = draw(st.sampled_from(v1.Reduction.values()[1:]))
    form.spec.zero_when_empty = draw(st.booleans())
    form.outputs.outputs.extend(draw(st.sets(st.sampled_from(outputs_of(one)))))
    if "binary" not in one.loss:
        form.outputs.top_k = draw(st.integers(0, min(MOST_TOP, one.input.shape[min(1, one.input.dim() - 1)])))
    if form.spec.reduction == MEAN and draw(st.booleans()):
        form.spec.divisor = draw(st.sampled_from([0.5, 1.0, 7.0]))
    for name, option in one.options.items():
        if isinstance(option, float):
            setattr(getattr(form.spec, one.loss), name, option)
        elif draw(st.booleans()):
            fill(getattr(getattr(form.spec, one.loss), name), option)
    if draw(st.booleans()):
        form.outputs.gradient.SetInParent()
        if draw(st.booleans()):
            fill(form.outputs.gradient.grad_output, torch.rand(loss_shape(one) if form.spec.reduction == NONE else ()))
    return form


def outputs_of(one: Problem) -> list["v1.Output.ValueType"]:
    """The outputs that a loss with such targets has."""
    if "binary" in one.loss:
        return [output for output in OUTPUTS if output not in (*OF_TARGETS, v1.Output.OUTPUT_LOG_SUM_EXP)]
    return [output for output in OUTPUTS if output not in OF_TARGETS or not one.target.is_floating_point()]


def with_elements(form: v1.EvaluateRequest, one: Problem, *, weighted: bool) -> v1.EvaluateRequest:
    request = v1.EvaluateRequest()
    request.CopyFrom(form)
    probabilities = one.loss == "binary_cross_entropy"
    fill(request.input, torch.rand_like(one.input) if probabilities else torch.randn_like(one.input) * 5)
    if one.target.is_floating_point():
        fill(request.target, torch.rand_like(one.target))
    else:
        fill(request.target, torch.randint_like(one.target, one.input.shape[min(1, one.input.dim() - 1)]))
    if weighted:
        fill(request.sample_weight, torch.rand(loss_shape(one)))
    return request


def _shorten(request: v1.EvaluateRequest) -> None:
    request.input.data = request.input.data[:-1]


def _fill_target(request: v1.EvaluateRequest) -> None:
    request.target.data = b"\xff" * len(request.target.data)  # -1, or NaN


def _fill_input(request: v1.EvaluateRequest) -> None:
    request.input.data = b"\xff" * len(request.input.data)


def _weigh_by_targets(request: v1.EvaluateRequest) -> None:
    getattr(
        request.spec, present(request.spec.WhichOneof("loss"))
    ).weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED


UNKNOWN: Any = 99
SPOILERS: list[Callable[[v1.EvaluateRequest], object]] = [  # each makes some requests wrong, and others another kind
    _shorten,
    _fill_target,
    _fill_input,
    _weigh_by_targets,
    lambda request: request.ClearField("spec"),
    lambda request: request.ClearField("input"),
    lambda request: setattr(request, "series", "not a name"),
    lambda request: request.input.shape.append(7),
    lambda request: request.target.shape.insert(0, 1),
    lambda request: request.input.shape.extend([2**62] * 20),
    lambda request: request.target.shape.extend([2**62] * 20),
    lambda request: request.input.shape.extend([1] * 500),
    lambda request: request.input.shape.extend([1] * 10_000),
    lambda request: request.input.shape.append(-1),
    lambda request: request.outputs.outputs.extend([UNKNOWN]),
    lambda request: request.outputs.outputs.extend([v1.Output.OUTPUT_PROBABILITIES] * 3000),
    lambda request: request.outputs.gradient.MergeFromString(b"\xf8\x7f\x01" * 3000),
    lambda request: request.input.shared_memory.SetInParent(),
    lambda request: request.outputs.gradient.destination.SetInParent(),
    lambda request: request.target.MergeFromString(b"\x98\x06\x01"),  # an unknown field
]
