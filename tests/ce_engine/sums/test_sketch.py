"""Sketches of losses, beside those that rational numbers decide, and the sums that only divergences have."""

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from ce_engine import Engine, Sketch, _libraries, slabs
from ce_engine._sums.sketch import LEAST, _table
from losswire.sketch import Sketch as Rational
from tests.ce_engine.sums.truth import sum_of
from tests.present import present

LIBRARIES = [None, *_libraries.runnable()]
GROWTH = Fraction(101, 99)


def fields(sketch: Any) -> tuple[Any, ...]:
    return sketch.bins, sketch.counts, sketch.zero_count


def test_bounds_are_the_largest_doubles_that_are_not_above():
    first, bounds = _table()
    assert GROWTH ** (first - 1) <= LEAST < GROWTH**first
    assert bounds[-1] == math.inf
    for number in (*range(first, first + 20), *range(-20, 20), *range(100, 30_000, 1777)):
        bound = float(bounds[number - first])
        assert Fraction(bound) <= GROWTH**number < Fraction(math.nextafter(bound, math.inf))


@given(st.lists(st.one_of(st.floats(), st.floats(1e-12, 100), st.just(LEAST)), max_size=30))
def test_bins_are_those_of_rational_numbers(numbers):
    sketch = Sketch.of(torch.tensor(numbers, dtype=torch.float64))
    assert fields(sketch) == fields(Rational.of(numbers))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_add_up_in_any_order(dtype):
    torch.manual_seed(0)
    losses = torch.randn(5000, dtype=dtype).mul(8).exp()  # 30 orders of magnitude
    whole = Sketch.of(losses)
    parts = [Sketch.of(part) for part in losses[torch.randperm(5000)].split(777)]
    assert sum(parts, Sketch()) == sum(reversed(parts), Sketch()) == whole
    assert sum(whole.counts) + whole.zero_count == 5000


def test_ignored_rows_are_in_no_bin():
    assert Sketch.of(torch.tensor([0.0, 1.0, 0.0, 0.0]), 2) == Sketch((0,), (1,), 1)


def batch() -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    torch.manual_seed(1)
    labels = torch.randint(9, (20,))
    labels[3] = -100
    return torch.randn(20, 9), torch.randn(20, 9), {"labels": labels, "outputs": ["predictions"]}


def planned(x: torch.Tensor, y: torch.Tensor, **options: Any) -> ce_engine.Slab:
    slab: ce_engine.Slab = slabs.kl_divergence(x, y, **options)
    slab.exact = "by_class"
    return slab


def assert_exact(sums: ce_engine.ExactSums, rows: list[int], result: ce_engine.LossResult) -> None:
    losses, changes = ([float(x[i]) for i in rows] for x in (result.loss, present(result.changes)))
    assert sums.loss == sum_of((x, 1.0) for x in losses)
    assert sums.change == sum_of((x, 1.0) for x in changes)
    assert sums.change_squared == sum_of((x, x) for x in changes)
    assert fields(sums.sketch) == fields(Rational.of(losses))
    assert sums.row_count == len(rows)


@pytest.mark.parametrize("library", LIBRARIES)
def test_sums_of_divergences_are_exact(library):
    x, y, options = batch()
    with _libraries.using(library):
        result = ce_engine.evaluate(planned(x, y, **options))
        rows = ce_engine.kl_divergence(x, y, reduction="none", **options)
    labels = options["labels"].tolist()
    assert_exact(present(result.exact), [i for i, label in enumerate(labels) if label >= 0], rows)
    assert present(result.exact).ignored_count == 1
    assert present(result.exact).correct_count == result.correct_count
    of_classes = present(result.exact_by_class)
    assert set(of_classes) == {label for label in labels if label >= 0}
    for label, sums in of_classes.items():
        assert_exact(sums, [i for i, own in enumerate(labels) if own == label], rows)


def test_without_labels_classes_are_the_targets_most_probable():
    x, y, _ = batch()
    result = ce_engine.evaluate(planned(x, y))
    assert set(present(result.exact_by_class)) == set(y.argmax(1).tolist())
    assert present(result.exact).change is None
    assert present(present(result.exact).sketch).counts


def test_other_losses_have_no_sketch():
    slab = slabs.cross_entropy(torch.randn(3, 4), torch.zeros(3).long())
    slab.exact = "sums"
    sums = present(ce_engine.evaluate(slab).exact)
    assert sums.change is sums.change_squared is None
    assert sums.sketch is None


def test_merged_and_stacked_slabs_have_the_sums_that_they_have_alone():
    x, y, options = batch()
    labels = options.pop("labels")
    own = [(x[i : i + 4], y[i : i + 4], labels[i : i + 4]) for i in range(0, 20, 4)]
    alone = [ce_engine.evaluate(planned(a, b, labels=label, **options)) for a, b, label in own]
    with Engine(workers=1, max_queue_delay_us=100_000) as engine:
        together = [engine.submit(planned(a, b, labels=label, **options)) for a, b, label in own]
        assert [future.result(20).exact for future in together] == [result.exact for result in alone]
    stack: Any = slabs.stacked(
        slabs.kl_divergence, x.view(5, 4, 9), y.view(5, 4, 9), labels=labels.view(5, 4), **options
    )
    stack.exact = "by_class"
    result: Any = ce_engine.evaluate(stack)
    assert result.exact == [one.exact for one in alone]
    assert result.exact_by_class == [one.exact_by_class for one in alone]
    assert torch.equal(result.changes, torch.stack([present(one.changes) for one in alone]))


def test_parts_add_up_to_the_whole():
    x, y, options = batch()
    rows, labels = [slice(i, i + 7) for i in (0, 7, 14)], options.pop("labels")
    parts = [planned(x[of], y[of], labels=labels[of], **options) for of in rows]
    sums = [present(ce_engine.evaluate(part).exact) for part in parts]
    assert sums[2] + sums[0] + sums[1] == ce_engine.evaluate(planned(x, y, labels=labels, **options)).exact
