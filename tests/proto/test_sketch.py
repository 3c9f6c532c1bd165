"""Sketches: bounds decided exactly, merges in any order, and the error of quantiles over many magnitudes."""

import math
import sys
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from losswire import v1
from losswire.errors import FieldError
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire.sketch import GROWTH, LEAST, Sketch

positive = st.floats(LEAST, sys.float_info.max, exclude_min=True)
numbers = st.lists(st.one_of(positive, st.floats(1e-9, 1e3), st.floats(-1, LEAST)), min_size=1, max_size=40)


@given(positive)
def test_bin_has_its_bounds(x):
    (number,) = Sketch.of([x]).bins
    assert GROWTH ** (number - 1) < Fraction(x) <= GROWTH**number


@pytest.mark.parametrize("number", [-1381, -700, -1, 0, 1, 55, 3000])
def test_doubles_beside_a_bound_are_in_different_bins(number):
    bound = GROWTH**number
    below = float(bound) if Fraction(float(bound)) <= bound else math.nextafter(float(bound), 0)
    assert Sketch.of([below]).bins == (number,)
    assert Sketch.of([math.nextafter(below, math.inf)]).bins == (number + 1,)


@settings(max_examples=30)
@given(numbers, st.floats(0, 1))
def test_quantile_is_within_a_percent(given_numbers, part):
    truth = sorted(given_numbers)[math.floor(part * (len(given_numbers) - 1))]
    found = Sketch.of(given_numbers).quantile(part)
    if truth <= LEAST:
        assert found == 0
    else:
        assert found == pytest.approx(truth, rel=0.01 * (1 + 1e-9))


@settings(max_examples=30)
@given(numbers, st.data())
def test_parts_add_up_in_any_order(given_numbers, data):
    parts = [Sketch.of([x]) for x in data.draw(st.permutations(given_numbers))]
    assert reduce(add, parts) == Sketch.of(given_numbers)


def test_numbers_that_are_none_have_no_bin():
    sketch = Sketch.of([math.nan, math.inf, 1.0, 0.0, -2.0, LEAST])
    assert sketch == Sketch((0,), (1,), 3)
    assert math.isnan(Sketch().quantile(0.5))


@pytest.mark.parametrize("part", [-0.1, 1.1, math.nan])
def test_part_beyond_the_whole_is_refused(part):
    with pytest.raises(ValueError, match=r"expected a part in \[0, 1\]"):
        Sketch.of([1.0]).quantile(part)


@settings(max_examples=30)
@given(numbers)
def test_message_comes_back(given_numbers):
    sketch = Sketch.of(given_numbers)
    assert Sketch.from_message(v1.Sketch.FromString(sketch.to_message().SerializeToString())) == sketch


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (v1.Sketch(bins=[1]), "counts"),
        (v1.Sketch(bins=[2, 1], counts=[1, 1]), "bins"),
        (v1.Sketch(bins=[1, 1], counts=[1, 1]), "bins"),
        (v1.Sketch(bins=[1], counts=[0]), "counts"),
        (v1.Sketch(zero_count=-1), "zero_count"),
    ],
)
def test_message_that_is_none_is_refused(message, field):
    with pytest.raises(FieldError) as raised:
        Sketch.from_message(message)
    assert raised.value.field == field


def sums_of(changes: list[float], losses: list[float]) -> ExactSums:
    squares = ExactSum.of(change * change for change in changes)  # exact for these numbers
    return ExactSums(
        loss=ExactSum.of(losses),
        row_count=len(changes),
        change=ExactSum.of(changes),
        change_squared=squares,
        sketch=Sketch.of(losses),
    )


CHANGES, LOSSES = [0.5, -0.25, 1.0, 0.0], [0.1, 0.2, 0.4, 0.8]


def test_mean_change_has_a_standard_error():
    change = sums_of(CHANGES, LOSSES).mean_change
    mean = sum(CHANGES) / 4
    variance = sum((x - mean) ** 2 for x in CHANGES) / 3
    assert change is not None
    assert change.mean == mean
    assert change.standard_error == pytest.approx(math.sqrt(variance / 4), rel=1e-15)


@pytest.mark.parametrize(
    ("changes", "mean"), [([], math.nan), ([2.0], 2.0), ([math.inf, 1.0], math.inf), ([math.nan, 1.0], math.nan)]
)
def test_mean_change_of_odd_rows_has_no_error(changes, mean):
    change = sums_of(changes, [1.0] * len(changes)).mean_change
    assert change is not None
    assert change.mean == mean or (math.isnan(change.mean) and math.isnan(mean))
    assert math.isnan(change.standard_error)


def test_sums_of_divergences_add_up_and_come_back():
    parts = [sums_of([change], [loss]) for change, loss in zip(CHANGES, LOSSES, strict=True)]
    whole = sums_of(CHANGES, LOSSES)
    assert sum(reversed(parts), ExactSums()) == whole
    assert ExactSums.from_message(v1.ExactSums.FromString(whole.to_message().SerializeToString())) == whole


def test_part_without_labels_leaves_no_change():
    labelled = sums_of(CHANGES, LOSSES)
    plain = replace(labelled, change=None, change_squared=None)
    for total in (labelled + plain, plain + labelled):
        assert total.change is total.change_squared is None
        assert total.mean_change is None
        assert total.sketch == Sketch.of(LOSSES * 2)
    assert (ExactSums() + labelled).change == labelled.change
    assert not labelled.is_same(plain)


def test_quantile_of_losses_knows_those_that_are_infinite():
    sums = sums_of([0.0] * 4, [1.0, 2.0, math.inf, math.inf])
    assert sums.quantile(0.0) == pytest.approx(1, rel=0.0101)
    assert sums.quantile(0.34) == pytest.approx(2, rel=0.0101)
    assert sums.quantile(0.7) == sums.quantile(1.0) == math.inf
    assert ExactSums().quantile(0.5) is None
    assert math.isnan(sums_of([0.0], [math.nan]).quantile(0.5) or 0)
