"""The bits of a row's results do not depend on its companions, on its position among them, on memory, or on threads."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ce_engine
from tests.ce_engine.helpers import FLOATS, PROBLEMS, Problem, threads
from tests.pairs import pairs

pytestmark = pytest.mark.usefixtures("either_kernels")

CLASS_PROBLEMS = PROBLEMS[:4]
NAMES = ("loss", "grad", "lse", "entropy", "probabilities", "log_probabilities", "predictions")
OF_TARGETS = ("target_log_probabilities", "target_ranks")
OF_TOP = ("top_log_probabilities", "top_classes")
OUTPUTS = [
    (),
    ("predictions",),
    ("lse", "entropy"),
    ("lse", "probabilities"),
    ("lse", "log_probabilities"),
    OF_TARGETS,
    OF_TOP,
    (*NAMES[2:], *OF_TARGETS, *OF_TOP),
]
# How rows may lie in memory; each keeps shape and numbers.
LAYOUTS = {
    "rows": lambda x: x.contiguous(),
    "columns": lambda x: x.mT.contiguous().mT,
    "odd offset": lambda x: torch.cat([x.new_zeros(3), x.flatten()])[3:].view(x.shape),
    "gaps": lambda x: x.repeat_interleave(2, -1)[:, ::2],
}


def rows_of(kind, rows, classes, dtype):
    """A problem of (rows, classes), each row with weights of its own; the binary losses' rows hold many elements."""
    logits, shares = (torch.randn(rows, classes) * 5).to(dtype), torch.rand(rows, classes).to(dtype)
    options: dict[str, Any] = {"grad_output": torch.rand(rows), "sample_weight": torch.rand(rows)}
    if kind in CLASS_PROBLEMS:
        index = torch.randint(classes, (rows,))
        options["label_smoothing"] = 0.1 if kind in {"smoothed", "probabilities"} else 0.0
        options["weight"] = torch.rand(classes)
        options["z_loss"] = 0.01 if kind == "smoothed" else 0.0
        if kind == "nll_loss":
            del options["label_smoothing"], options["z_loss"]
        loss = "nll_loss" if kind == "nll_loss" else "cross_entropy"
        return Problem(loss, logits, shares if kind == "probabilities" else index, options)
    options = {name: torch.rand(rows, classes) for name in ("grad_output", "sample_weight", "weight")}
    if kind == "binary":
        return Problem("binary_cross_entropy", logits.sigmoid(), shares, options)
    options["pos_weight"] = torch.rand(rows, classes)
    return Problem("binary_cross_entropy_with_logits", logits, shares, options)


def taken(one, rows, layout):
    """The problem of these rows alone."""
    arrange = LAYOUTS[layout]

    def part(x):
        return arrange(x[rows]) if x.dim() == 2 else x[rows]

    shared = {"weight", "label_smoothing", "z_loss"}
    own = {name for name in one.options if name not in shared or "binary" in one.loss}
    options = {name: part(x) if name in own else x for name, x in one.options.items()}
    return Problem(one.loss, part(one.input), part(one.target), options)


def bits(one, outputs):
    others = {"lse", *OF_TARGETS, *OF_TOP} if "binary" in one.loss else set()
    others |= set(OF_TARGETS) if one.target.is_floating_point() else set()
    wanted = [name for name in outputs if name not in others]
    top_k = min(5, one.input.shape[1]) if OF_TOP[0] in wanted else 0
    named = [name for name in wanted if name not in OF_TOP]
    result = one.ours(reduction="none", outputs=named, **({"top_k": top_k} if top_k else {}))
    return {name: getattr(result, name) for name in ("loss", "grad", *wanted)}


@given(
    kind=st.sampled_from(PROBLEMS),
    # 129: one more than a vector holds; 50,257: GPT-2's classes, with two rows in a block
    classes=st.sampled_from([1, 2, 3, 10, 129, 1000, 50_257]),
    outputs=st.sampled_from(OUTPUTS),
    dtype=st.sampled_from(FLOATS),
    layouts=st.tuples(st.sampled_from(list(LAYOUTS)), st.sampled_from(list(LAYOUTS))),
    thread_counts=st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3])),
    data=st.data(),
)
@settings(max_examples=150)
def test_company_changes_no_bit(kind, classes, outputs, dtype, layouts, thread_counts, data):
    torch.manual_seed(data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(1, 40 if classes < 10_000 else 8))
    all_rows = rows_of(kind, count, classes, dtype)
    some = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=4) | st.permutations(range(count)))
    with threads(thread_counts[0]):
        together = bits(taken(all_rows, range(count), layouts[0]), outputs)
    with threads(thread_counts[1]):
        apart = bits(taken(all_rows, some, layouts[1]), outputs)
    for name, x in apart.items():
        assert torch.equal(x, together[name][some]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_row_with_a_nan_harms_no_other(kind, dtype):
    torch.manual_seed(0)
    one = rows_of(kind, 20, 100, dtype)
    if kind != "binary":  # it refuses inputs that are no probabilities
        one.input[7] = float("nan")
    one.options["sample_weight"][7] = float("nan")
    together, others = bits(one, NAMES[2:]), [row for row in range(20) if row != 7]
    for name, x in bits(taken(one, others, "rows"), NAMES[2:]).items():
        assert torch.equal(x, together[name][others]), name


@pytest.mark.parametrize("kind", ["smoothed", "probabilities"])
@pytest.mark.parametrize("classes", [50_257, 100_003])  # two rows a block, and one; both enough to split a sum
def test_split_sums_have_the_same_bits(classes, kind):
    torch.manual_seed(0)
    one = rows_of(kind, 8, classes, torch.float32)
    with threads(1):
        together = bits(one, ("entropy",))
    with threads(2):
        alone = [bits(taken(one, [row], "rows"), ("entropy",)) for row in range(8)]
    for name, x in together.items():
        assert torch.equal(torch.cat([row[name] for row in alone]), x)


@pytest.mark.parametrize(("kind", "outputs", "dtype"), pairs(CLASS_PROBLEMS, OUTPUTS, FLOATS))
def test_class_dimension_changes_no_bit(kind, outputs, dtype):
    torch.manual_seed(0)
    one = rows_of(kind, 6 * 35, 300, dtype)

    def image(x):
        if x.dim() < 2:
            return x.view(6, 5, 7)
        return x.view(6, 35, 300).mT.contiguous().view(6, 300, 5, 7)

    shared = {name: one.options[name] for name in ("weight", "label_smoothing", "z_loss") if name in one.options}
    options = {name: image(one.options[name]) for name in ("grad_output", "sample_weight")}
    images = bits(Problem(one.loss, image(one.input), image(one.target), options | shared), outputs)
    for name, x in bits(one, outputs).items():
        ours = images[name]
        if name in OF_TOP:
            ours = ours.view(x.shape)
        else:
            ours = ours.flatten(2).mT.reshape(-1, 300) if ours.dim() == 4 else ours.flatten()
        assert torch.equal(ours, x), name


@pytest.mark.parametrize("kind", ["binary", "with_logits"])
def test_position_of_an_element_changes_no_bit(kind):
    # Steps of 3: all remainders of the 8 or 16 elements of a vector, before and after.
    torch.manual_seed(0)
    one = rows_of(kind, 1, 70, torch.float32)
    together = bits(one, NAMES[3:])
    for start, end in itertools.combinations(range(0, 71, 3), 2):
        cut = {name: x[0, start:end] for name, x in one.options.items()}
        apart = bits(Problem(one.loss, one.input[0, start:end], one.target[0, start:end], cut), NAMES[3:])
        for name, x in apart.items():
            assert torch.equal(x, together[name][0, start:end]), name


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_thread_count_changes_no_bit(kind, count):
    torch.manual_seed(0)
    one = rows_of(kind, 100_000, 5, torch.float32)
    options = {name: x for name, x in one.options.items() if name != "grad_output"}

    def sums():
        result = getattr(ce_engine, one.loss)(one.input, one.target, **options, grad=True)
        return result.loss_sum, result.weight_sum, float(result.loss), result.grad

    with threads(1):
        *expected, expected_grad = sums()
    with threads(count):
        *ours, grad = sums()
    assert ours == expected
    assert torch.equal(grad, expected_grad)
