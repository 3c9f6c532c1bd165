"""Slabs that may share a launch, for tests that put them together."""

import torch
from hypothesis import strategies as st

from ce_engine import slabs

CLASS_LOSSES = ("cross_entropy", "nll_loss")
BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
OUTPUTS = ("entropy", "probabilities", "log_probabilities", "predictions")
OF_TARGETS = ("target_log_probabilities", "target_ranks")


@st.composite
def companions(draw):
    """Slabs of one kind, of different shapes, reductions, weights and ignored rows."""
    loss = draw(st.sampled_from(CLASS_LOSSES + BINARY_LOSSES))
    probabilities = loss == "cross_entropy" and draw(st.booleans())
    outputs = OUTPUTS if loss in BINARY_LOSSES else (*OUTPUTS, "lse", *(() if probabilities else OF_TARGETS))
    shared = {"grad": draw(st.booleans()), "outputs": draw(st.sets(st.sampled_from(outputs)))}
    if loss == "cross_entropy":
        shared |= {"label_smoothing": draw(st.sampled_from([0.0, 0.1])), "z_loss": draw(st.sampled_from([0.0, 0.1]))}
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]))
    classes = draw(st.sampled_from([1, 2, 7, 33, 1000]))
    if loss in CLASS_LOSSES:
        shared["top_k"] = min(classes, draw(st.sampled_from([0, 1, 5])))
    torch.manual_seed(draw(st.integers(0, 2**32)))
    shapes = st.lists(st.integers(0, 5), min_size=0, max_size=3).map(tuple)
    count = draw(st.integers(2, 6))
    return [draw(one(loss, draw(shapes), classes, dtype, probabilities, shared)) for _ in range(count)]


@st.composite
def one(draw, loss, rows, classes, dtype, probabilities, shared):
    options = shared | {"reduction": draw(st.sampled_from(["none", "mean", "sum"]))}
    if options["reduction"] == "mean" and draw(st.booleans()):
        options["divisor"] = 3.0
    if draw(st.booleans()):
        options["sample_weight"] = torch.rand(rows)
    if loss in BINARY_LOSSES:
        return draw(binary(loss, rows, dtype, options))
    input = (torch.randn(*rows, classes) * 5).to(dtype)
    input = input.movedim(-1, 1) if len(rows) > 1 else input
    if probabilities:
        return slabs.cross_entropy(input, torch.rand(input.shape).to(dtype), **options)
    # With label smoothing all class weights matter, and slabs with class weights are of a separate kind.
    if not shared.get("label_smoothing") and draw(st.booleans()):
        options["weight"] = torch.rand(classes)
    target = torch.randint(-1, classes, rows) if draw(st.booleans()) else torch.randint(classes, rows)
    return getattr(slabs, loss)(input, target, ignore_index=-1, **options)


@st.composite
def binary(draw, loss, rows, dtype, options):
    input = (torch.randn(rows) * 5).to(dtype)
    if draw(st.booleans()):
        options["weight"] = torch.rand(rows)
    if loss == "binary_cross_entropy_with_logits" and draw(st.booleans()):
        options["pos_weight"] = torch.rand(rows[-1:])
    input = input.sigmoid() if loss == "binary_cross_entropy" else input
    return getattr(slabs, loss)(input, torch.rand(rows).to(dtype), **options)
