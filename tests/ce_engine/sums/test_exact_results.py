"""Exact sums of results, beside rational numbers from the losses of rows, for all losses and ways to evaluate them."""

import math
from functools import reduce
from operator import add
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import ce_engine
from ce_engine import Engine, ExactSums, PlannedSlabBySlab, SlabBySlab, _libraries, slabs
from tests.ce_engine.helpers import PROBLEMS, SHAPES, Problem, problem
from tests.ce_engine.sums.truth import sums_of
from tests.present import present

LIBRARIES = [None, *_libraries.runnable()]
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
INDEX_PROBLEMS = ("cross_entropy", "smoothed", "nll_loss")


def planned(case: Problem, exact: Literal["", "sums", "by_class"] = "by_class", **more: Any) -> ce_engine.Slab:
    slab: ce_engine.Slab = getattr(slabs, case.loss)(case.input, case.target, **(case.options | more))
    slab.exact = exact
    return slab


def evaluated(case: Problem, exact: Literal["", "sums", "by_class"] = "by_class", **more: Any) -> Any:
    return ce_engine.evaluate(planned(case, exact, **more))


def classes_of(case: Problem) -> list[int]:
    """The class of each row; -100 for ignored rows."""
    target = case.target
    if case.loss.startswith("binary"):
        return [int(t > 0.5) for t in target.flatten().tolist()]
    if not target.dtype.is_floating_point:
        return target.flatten().tolist()
    rows = target.movedim(1, -1).reshape(-1, target.shape[1]) if target.dim() > 1 else target[None]
    return [row.index(max(row)) for row in rows.tolist()]


def weights_of(case: Problem) -> list[float]:
    """What `mean` divides by, of each row."""
    if case.target.dtype.is_floating_point or "weight" not in case.options:
        return [1.0] * len(classes_of(case))
    weight = case.options["weight"].double().tolist()
    return [0.0 if c == -100 else weight[c] for c in classes_of(case)]


def expected(case: Problem, only: int | None = None, **more: Any) -> ExactSums:
    """Row by row: of all rows that count, or of those of one class."""
    result = case.ours(reduction="none", grad=False, outputs=("predictions",), **more)
    losses, predictions = result.loss.flatten().tolist(), present(result.predictions).flatten().tolist()
    classes = classes_of(case)
    rows = [i for i, c in enumerate(classes) if c != -100 and only in (None, c)]
    weights = weights_of(case)
    correct = sum(predictions[i] == classes[i] for i in rows)
    ignored = 0 if only is not None else classes.count(-100)
    return sums_of([losses[i] for i in rows], [weights[i] for i in rows], ignored, correct)


def assert_exact(result: Any, case: Problem, **more: Any) -> None:
    assert result.exact == expected(case, **more)
    of_classes = present(result.exact_by_class)
    assert list(of_classes) == sorted(set(classes_of(case)) - {-100})
    assert of_classes == {c: expected(case, c, **more) for c in of_classes}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_sums_are_exact_for_every_loss(kind, dtype, library):
    case = problem(kind, dtype=dtype)
    more: dict[str, Any] = {"sample_weight": torch.rand(case.ours(reduction="none").loss.shape)}
    with _libraries.using(library):
        assert_exact(evaluated(case, outputs=("predictions",)), case)
        assert_exact(evaluated(case, outputs=("predictions",), **more), case, **more)


@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES.values()])
@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.usefixtures("either_kernels")
def test_sums_are_exact_for_every_shape(kind, shape):
    case = problem(kind, shape)
    assert_exact(evaluated(case, outputs=("predictions",)), case)


@pytest.mark.usefixtures("either_kernels")
@pytest.mark.parametrize("kind", INDEX_PROBLEMS)
def test_ignored_rows_count_nowhere_whatever_they_hold(kind):
    case = problem(kind, (4, 5))
    case.input[2] = math.nan
    for name in ("weight", "label_smoothing", None):
        options = {key: x for key, x in case.options.items() if key != name}
        less = Problem(case.loss, case.input, case.target, options)
        assert_exact(evaluated(less, outputs=("predictions",)), less)
        assert evaluated(less).exact.loss.nan_count == 0


@pytest.mark.usefixtures("either_kernels")
def test_batch_whose_rows_are_all_ignored_has_no_classes():
    slab = slabs.cross_entropy(torch.zeros(3, 2), torch.full((3,), -100), torch.ones(2))
    slab.exact = "by_class"
    result = ce_engine.evaluate(slab)
    assert result.exact == sums_of([], [], 3)
    assert result.exact_by_class == {}


@pytest.mark.usefixtures("either_kernels")
def test_losses_that_are_not_finite_are_counted():
    scores, target = torch.tensor([[math.nan, 0.0], [-math.inf, 0.0], [-0.5, 1.0]]), torch.tensor([0, 0, 1])
    case = Problem("nll_loss", scores, target, {"weight": torch.tensor([-2.0, 3.0])})
    result = evaluated(case, outputs=("predictions",))
    assert_exact(result, case)
    assert (result.exact.loss.nan_count, result.exact.loss.negative_infinity_count) == (1, 1)
    assert (result.exact.loss_squared.nan_count, result.exact.loss_squared.positive_infinity_count) == (1, 1)


def test_ties_of_probability_targets_go_to_the_first_class():
    target = torch.tensor([[0.2, 0.4, 0.4], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    slab = slabs.cross_entropy(torch.randn(3, 3), target)
    assert slab.row_classes().tolist() == [1, 0, 0]


def test_target_of_one_half_is_of_class_0():
    for dtype in DTYPES:
        target = torch.tensor([0.5, 0.75, 0.0, 1.0], dtype=dtype)
        slab = slabs.binary_cross_entropy_with_logits(torch.randn(4), target)
        assert slab.row_classes().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("kind", PROBLEMS)
def test_finding_classes_holds_no_input(kind):
    slab = planned(problem(kind))
    find, pointer = slab.row_classes, slab.input.data_ptr()
    held = [x for x in present(getattr(find, "args", None)) if isinstance(x, Tensor)]
    assert held
    assert all(x.data_ptr() != pointer for x in held)


def test_sums_are_there_only_if_asked_for():
    case = problem("cross_entropy")
    nothing, sums = evaluated(case, ""), evaluated(case, "sums")
    assert nothing.exact is nothing.exact_by_class is sums.exact_by_class is None
    assert sums.exact.correct_count is None
    assert sums.exact.row_count == sums.row_count


def test_slab_whose_gradient_goes_elsewhere_keeps_what_was_asked():
    case = problem("cross_entropy", (4, 5))
    memory = torch.empty_like(case.input)
    result = ce_engine.evaluate(planned(case, outputs=("predictions",), grad=True), grad_into=memory)
    assert_exact(result, case)


def small_cases(count: int) -> list[Problem]:
    torch.manual_seed(0)
    weights = [{}, {"weight": torch.rand(5)}] * count
    return [Problem("cross_entropy", torch.randn(6, 5), torch.randint(5, (6,)), weight) for weight in weights]


@pytest.mark.usefixtures("either_kernels")
def test_merged_slabs_have_the_sums_that_they_have_alone():
    together = [planned(case, outputs=("predictions",)) for case in small_cases(5)]
    alone = [ce_engine.evaluate(slab) for slab in together]
    launches: list[ce_engine.Launch] = []
    with Engine(workers=1, max_queue_delay_us=100_000, on_launch=launches.append) as engine:
        results = [future.result() for future in [engine.submit(slab) for slab in together]]
    assert max(launch.requests for launch in launches) > 1
    assert [result.exact for result in results] == [result.exact for result in alone]
    assert [result.exact_by_class for result in results] == [result.exact_by_class for result in alone]


@pytest.mark.usefixtures("either_kernels")
def test_small_batch_at_once_has_exact_sums():
    x, target = torch.randn(32, 10), torch.randint(10, (32,))
    case = Problem("cross_entropy", x, target, {})
    for _ in range(2):  # the second time its form is known
        result = evaluated(case)
        plain = expected(case)
        assert present(result.exact).loss == plain.loss
        assert sum(sums.row_count for sums in present(result.exact_by_class).values()) == 32


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.usefixtures("either_kernels")
def test_stacked_requests_have_the_sums_that_they_have_alone(kind):
    case, count = problem(kind, (4, 5), torch.float32), 3
    own = [Problem(case.loss, case.input.roll(i, 0), case.target.roll(i, 0), case.options) for i in range(count)]
    input, target = torch.stack([one.input for one in own]), torch.stack([one.target for one in own])
    slab = slabs.stacked(getattr(slabs, case.loss), input, target, outputs=("predictions",), **case.options)
    slab.exact = "by_class"
    result: Any = ce_engine.evaluate(slab)
    for i, one in enumerate(own):
        assert_exact(result[i], one)


@pytest.mark.usefixtures("either_kernels")
def test_stacked_requests_without_rows_have_empty_sums():
    slab = slabs.stacked(slabs.cross_entropy, torch.zeros(2, 0, 5), torch.zeros(2, 0).long())
    slab.exact = "by_class"
    result: Any = ce_engine.evaluate(slab)
    assert result.exact == [sums_of([], [])] * 2
    assert result.exact_by_class == [{}, {}]


@pytest.mark.parametrize("kind", INDEX_PROBLEMS)
@pytest.mark.usefixtures("either_kernels")
def test_slabs_of_a_planned_batch_add_up_to_its_sums(kind):
    case = problem(kind, (9, 5), torch.float32)
    batch = PlannedSlabBySlab(planned(case, outputs=("predictions",)))
    assert_adds_up([batch.plan(part) for part in case.input.split(4)], case)


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.usefixtures("either_kernels")
def test_slabs_that_are_planned_one_by_one_add_up_to_the_sums_of_their_batch(kind):
    case = problem(kind, (9, 5), torch.float32)
    options = {name: x for name, x in case.options.items() if not case.loss.startswith("binary")}  # of all rows alike
    case = Problem(case.loss, case.input, case.target, options)
    batch = SlabBySlab(getattr(slabs, case.loss), reduction="mean", outputs=("predictions",), **options)
    pairs = zip(case.input.split(4), case.target.split(4), strict=True)
    assert_adds_up([batch.plan(*of_part) for of_part in pairs], case)


def assert_adds_up(parts: list[ce_engine.Slab], case: Problem) -> None:
    total, by_class = [], []
    for slab in parts:
        find_classes, reduction = slab.row_classes, slab.reduction
        results: Any = ce_engine.evaluate(slab)  # a part's are `RowResults`
        total.append(ce_engine.exact_sums(results.losses, reduction, results.correct))
        flags = slab.rows.ignored, results.correct
        by_class.append(ce_engine.exact_sums_by_class(results.losses, reduction, find_classes(), *flags))
    whole = evaluated(case, outputs=("predictions",))
    assert reduce(add, total) == whole.exact
    assert reduce(merged, by_class) == whole.exact_by_class


def merged(a: dict[int, ExactSums], b: dict[int, ExactSums]) -> dict[int, ExactSums]:
    return {c: a[c] + b[c] if c in a and c in b else a.get(c) or b[c] for c in {*a, *b}}
