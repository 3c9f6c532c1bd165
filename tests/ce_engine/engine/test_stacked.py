"""Stacked requests: each has the same bits as alone."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from ce_engine import InvalidArgumentError, slabs
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import FLOATS, INTEGERS, REDUCTIONS, SHAPES

pytestmark = pytest.mark.usefixtures("either_kernels")

BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
LOSSES = ("cross_entropy", "nll_loss", *BINARY_LOSSES)
OUTPUTS = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")


@st.composite
def stacks(draw):
    """A loss, the requests' own tensors, and the arguments that they share."""
    loss = draw(st.sampled_from(LOSSES))
    count, dtype = draw(st.integers(1, 9)), draw(st.sampled_from(FLOATS))
    shape, rows = draw(st.sampled_from([*SHAPES.values(), ((33, 10), (33,))]))
    torch.manual_seed(draw(st.integers(0, 2**32)))
    input = (torch.randn(count, *shape, dtype=torch.float64) * draw(st.sampled_from([1, 50]))).to(dtype)
    options = {
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "empty": draw(st.sampled_from(["nan", "zero"])),
        "grad": draw(st.booleans()),
        "outputs": draw(st.sets(st.sampled_from(OUTPUTS[1:] if loss in BINARY_LOSSES else OUTPUTS))),
    }
    if options["reduction"] == "mean":
        options["divisor"] = draw(st.sampled_from([None, 3.0]))
    if loss in BINARY_LOSSES:
        rows, options = shape, options | draw(options_of_elements(loss, shape, dtype))
        input, target = (input.sigmoid() if loss == BINARY_LOSSES[0] else input), torch.rand(count, *shape).to(dtype)
    elif loss == "cross_entropy" and draw(st.booleans()):
        target, options = torch.rand(count, *shape).to(dtype), options | draw(options_of_classes(loss, shape))
    else:
        target, options = draw(classes(count, shape, rows)), options | draw(options_of_classes(loss, shape))
        options["outputs"] |= draw(st.sets(st.sampled_from(["target_log_probabilities", "target_ranks"])))
    if draw(st.booleans()):
        options["sample_weight"] = torch.rand(count, *rows)
    if options["grad"] and draw(st.booleans()):
        options["grad_output"] = torch.randn(rows if options["reduction"] == "none" else ())
    return loss, input, target, options


@st.composite
def options_of_elements(draw, loss, shape, dtype):
    options = {}
    if draw(st.booleans()):
        options["weight"] = torch.rand(shape[draw(st.integers(0, len(shape))) :], dtype=dtype)
    if loss == "binary_cross_entropy_with_logits" and draw(st.booleans()):
        options["pos_weight"] = torch.rand(shape[-1:], dtype=dtype)
    return options


@st.composite
def options_of_classes(draw, loss, shape):
    count = shape[1] if len(shape) > 1 else shape[0]
    weights = st.sampled_from([torch.rand(count), torch.zeros(count), torch.randn(count, dtype=torch.float64)])
    options = {"weight": draw(weights)} if draw(st.booleans()) else {}
    options["top_k"] = draw(st.integers(0, min(count, 3)))
    if loss == "cross_entropy":
        options["z_loss"] = draw(st.sampled_from([0.0, 0.1]))
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.0, 0.3]))
    return options


@st.composite
def classes(draw, count, shape, rows):
    """Targets. All rows of some requests are ignored, and some or no rows of other requests."""
    target = torch.randint(shape[1] if len(shape) > 1 else shape[0], (count, *rows))
    shares = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=count, max_size=count))
    ignored = torch.rand(count, *rows) < torch.tensor(shares).view(count, *[1] * len(rows))
    dtype = draw(st.sampled_from([torch.int64, torch.int32, torch.int16]))
    return torch.where(ignored, -100, target).to(dtype)


@given(stacks())
def test_stacking_changes_no_bit(stack):
    loss, input, target, options = stack
    stacked = ce_engine.evaluate_stacked(getattr(slabs, loss), input, target, **options)
    assert len(stacked) == len(input)
    for number in range(len(input)):
        result = stacked[number]
        own = {name: x[number] for name, x in options.items() if name == "sample_weight"}
        alone = getattr(ce_engine, loss)(input[number], target[number], **options | own)
        for field in dataclasses.fields(alone):
            assert bits(getattr(result, field.name)) == bits(getattr(alone, field.name)), field.name


@pytest.mark.parametrize("dtype", INTEGERS)
def test_targets_of_every_integer_dtype(dtype):
    input, target = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    stacked = ce_engine.evaluate_stacked(slabs.cross_entropy, input, target.to(dtype))
    assert torch.equal(stacked.loss, ce_engine.evaluate_stacked(slabs.cross_entropy, input, target).loss)


def wrong(**changes):
    arguments = {"plan": slabs.cross_entropy, "input": torch.randn(3, 4, 5), "target": torch.zeros(3, 4).long()}
    return arguments | changes


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (wrong(input=torch.randn(0, 4, 5), target=torch.zeros(0, 4).long()), "input"),
        (wrong(input=torch.tensor(1.0)), "input"),
        (wrong(input=[1.0]), "input"),
        (wrong(input=torch.randn(12, 5)), "target"),
        (wrong(target=torch.zeros(2, 4).long()), "target"),
        (wrong(target=torch.zeros(12).long()), "target"),
        (wrong(input=torch.randn(3, 5), target=torch.zeros(3, 1).long()), "target"),
        (wrong(target=torch.tensor([[0] * 4, [5] * 4, [0] * 4])), "target"),
        (wrong(sample_weight=torch.ones(4)), "sample_weight"),
        (wrong(sample_weight=torch.ones(1, 4)), "sample_weight"),
        (wrong(weight="balanced"), "weight"),
        (wrong(reduction="most"), "reduction"),
        (wrong(grad_output=torch.ones(3), grad=True), "grad_output"),
        (wrong(plan=slabs.binary_cross_entropy, target=torch.full((3, 4, 5), 0.5)), "input"),
    ],
)
def test_wrong_argument_is_refused(arguments, name):
    with pytest.raises(InvalidArgumentError) as raised:
        ce_engine.evaluate_stacked(**arguments)
    assert raised.value.argument == name
