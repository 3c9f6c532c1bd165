"""Exact sums of numbers of all magnitudes, beside rational numbers."""

import math
from functools import reduce
from operator import add
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import ce_engine
from ce_engine import ExactSum, ExactSums, Reduction, _libraries
from tests.ce_engine.sums.truth import sum_of, sums_of

LIBRARIES = [None, *_libraries.runnable()]
INTEGERS = {torch.float64: torch.int64, torch.float32: torch.int32}
ROWS = [0, 1, 2, 1000, 1025, 2500]  # the compiled code shortens digits after 1024
EDGES = [0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1.0, math.nextafter(1, 2), 2.0**53, 1.7976931348623157e308]


def reduction_of(rows: int, weights: Tensor | None) -> Reduction:
    return Reduction("none", "nan", torch.Size((rows,)), math.nan, 0, weights)


def added(losses: Tensor, weights: Tensor | None = None) -> ExactSums:
    return ce_engine.exact_sums(losses, reduction_of(len(losses), weights))


def random_bits(rows: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers of all magnitudes and signs; some are NaN, infinite or subnormal."""
    generator, whole = torch.Generator().manual_seed(seed), torch.iinfo(INTEGERS[dtype])
    bits = torch.randint(whole.min, whole.max, (rows,), dtype=INTEGERS[dtype], generator=generator)
    x = bits.view(dtype)
    tiny = torch.finfo(dtype).tiny
    x[::5] = torch.rand(len(x[::5]), dtype=dtype, generator=generator) * tiny  # subnormal
    x[3::251], x[4::379], x[6::401] = math.inf, -math.inf, math.nan
    return x


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("rows", ROWS)
def test_sums_are_those_of_rational_numbers(rows, dtype, library):
    losses, weights = random_bits(rows, dtype, 1), random_bits(rows, torch.float64, 2)
    with _libraries.using(library):
        plain, weighted = added(losses), added(losses, weights)
    assert plain == sums_of(losses.tolist(), [1.0] * rows)
    assert weighted == sums_of(losses.tolist(), weights.tolist())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rows", [1023, 5000])
def test_largest_and_least_numbers_do_not_overflow(rows, library):
    largest = torch.full((rows,), torch.finfo(torch.float64).max, dtype=torch.float64)
    least = torch.full((rows,), 5e-324, dtype=torch.float64)
    with _libraries.using(library):
        for x, y in ((largest, -largest), (least, least), (-largest, least)):
            assert added(x, y) == sums_of(x.tolist(), y.tolist())


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_pair_of_edges_is_multiplied(library):
    numbers = [*EDGES, *(-x for x in EDGES), math.inf, -math.inf, math.nan]
    with _libraries.using(library):
        for a in numbers:
            for b in numbers:
                x, y = (torch.tensor([number], dtype=torch.float64) for number in (a, b))
                assert added(x, y) == sums_of([a], [b])


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_that_float32_holds_are_multiplied_like_others(library):
    losses, weights = torch.tensor([0.1, 3e38, -1e-45, 7.5]), torch.tensor([0.1, 3e38, 1e-45, math.inf]).double()
    with _libraries.using(library):
        for of_rows in (weights, torch.nextafter(weights, torch.zeros(()).double())):
            assert added(losses, of_rows) == sums_of(losses.tolist(), of_rows.tolist())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("losses", [torch.tensor([1.0, 2.0, 4.0, 8.0])[::2], torch.tensor([1.0, 4.0])._neg_view()])
def test_views_are_added_up_as_they_read(losses, library):
    with _libraries.using(library):
        assert added(losses) == sums_of(losses.tolist(), [1.0, 1.0])


doubles = st.floats(allow_nan=False)
singles = st.floats(width=32)


@pytest.mark.parametrize("library", LIBRARIES)
@given(rows=st.lists(st.tuples(singles, doubles), max_size=40), data=st.data())
def test_any_order_and_partition_gives_equal_sums(library, rows, data):
    order = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    with _libraries.using(library):
        whole = _added(rows)
        parts = [_added(order[a:b]) for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    assert reduce(add, parts) == whole


def _added(rows: list[tuple[float, float]]) -> ExactSums:
    losses, weights = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1))
    return added(losses.float(), weights)


@given(st.lists(doubles))
def test_sum_is_rounded_once(numbers):
    try:
        expected = math.fsum(numbers)
    except (OverflowError, ValueError):  # it has infinities of both signs, or is beyond the range of doubles
        return
    assert float(added(torch.tensor(numbers, dtype=torch.float64)).loss) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1.7976931348623157e308] * 2, math.inf),
        ([-1.7976931348623157e308] * 2, -math.inf),
        ([math.inf, 1.0], math.inf),
        ([-math.inf, 1.0], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, math.inf], math.nan),
        ([], 0.0),
        ([1e16, 1.0, -1e16], 1.0),
    ],
)
def test_sum_is_read_as_ieee_754_adds(numbers, expected):
    total = float(added(torch.tensor(numbers, dtype=torch.float64)).loss)
    assert total == expected or (math.isnan(total) and math.isnan(expected))


def same(units: int, *counts: int | None) -> ExactSums:
    sums: Any = [ExactSum(units)] * 5
    return ExactSums(*sums, *counts)


def test_counts_of_correct_predictions_add_up_if_both_are_known():
    one, unknown = same(1, 2, 3, 1), same(2, 5, 7, None)
    assert one + one == same(2, 4, 6, 2)
    assert one + unknown == unknown + one == same(3, 7, 10, None)


def test_numbers_that_are_not_finite_are_counted_apart():
    losses = [math.nan, math.inf, math.inf, -math.inf, 2.0]
    assert added(torch.tensor(losses)).loss == sum_of((loss, 1.0) for loss in losses)
    assert added(torch.tensor(losses)).loss_squared == ExactSum(4 << 2176, 1, 3, 0)


@pytest.mark.parametrize("other", [None, 0, 1.5])
def test_sums_add_up_with_sums_alone(other):
    sums = added(torch.ones(2))
    for both in ((sums, other), (sums.loss, other)):
        with pytest.raises(TypeError, match="unsupported operand"):
            reduce(add, both)


def test_sum_is_shown_as_a_number():
    sums = added(torch.tensor([0.5, 0.25, math.nan, -math.inf, -math.inf], dtype=torch.float64))
    assert repr(sums.loss) == "<ExactSum 0.75 + 1 x nan + 2 x -inf>"


@pytest.mark.parametrize(
    ("losses", "weights", "problem"),
    [
        (torch.ones(3, dtype=torch.float16), None, r"losses: expected shape \(R\) in .*, got \(3,\) in float16"),
        (torch.ones(3, 2), None, r"losses: expected .*, got \(3, 2\) in float32"),
        (torch.ones(3), torch.ones(3), r"reduction.row_weight: expected shape \(3,\) in float64, got .* in float32"),
        (torch.ones(3), torch.ones(2).double(), r"reduction.row_weight: expected .*, got \(2,\) in float64"),
    ],
)
def test_wrong_rows_are_refused(losses, weights, problem):  # compiled code would read what lies behind them
    with pytest.raises(ce_engine.InvalidArgumentError, match=problem):
        added(losses, weights)
