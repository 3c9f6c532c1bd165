"""What follows from exact sums, beside rational numbers and decimals of many digits."""

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from losswire import v1
from losswire.exact_sum import UNITS_IN_ONE, ExactSum
from losswire.exact_sums import ExactSums, by_class_from_messages, merged
from losswire.statistics import Statistics

DIGITS = 1600  # a tie between two doubles, such as half of the least one, has so many
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 20), st.integers(0, 3).map(float))
rows = st.lists(st.tuples(numbers, numbers), max_size=12)
positive_weights = st.lists(st.tuples(st.floats(0, 20), st.floats(0.125, 8)), min_size=2, max_size=12)


def sums_of(pairs: list[tuple[float, float]], ignored_count: int = 0, correct_count: int | None = None) -> ExactSums:
    losses, weights = [loss for loss, _ in pairs], [weight for _, weight in pairs]
    return ExactSums(
        ExactSum.of(losses),
        ExactSum.of(weights),
        _products(zip(losses, losses, strict=True)),
        _products(pairs),
        _products(zip(weights, weights, strict=True)),
        len(pairs),
        ignored_count,
        correct_count,
    )


def _products(pairs) -> ExactSum:
    total, counts = ExactSum(), []
    for a, b in pairs:
        if math.isfinite(a) and math.isfinite(b):
            total += ExactSum(int(Fraction(a) * Fraction(b) * UNITS_IN_ONE))
        else:
            counts.append(a * b)
    return total + ExactSum.of(counts)


def plain(losses: list[float]) -> ExactSums:
    return sums_of([(loss, 1.0) for loss in losses])


def total(numbers: Iterable[float | Fraction]) -> Fraction:
    return sum((Fraction(number) for number in numbers), Fraction())


def nearest(x: Fraction) -> float:
    try:
        return x.numerator / x.denominator
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def root(x: Fraction) -> float:
    with localcontext(prec=DIGITS):
        return float((Decimal(x.numerator) / Decimal(x.denominator)).sqrt())


def standard_error(pairs: list[tuple[float, float]]) -> float:
    """By its definition, row by row."""
    n, weight_sum = len(pairs), total(weight for _, weight in pairs)
    mean = total(loss for loss, _ in pairs) / weight_sum
    squares = total((Fraction(loss) - mean * Fraction(weight)) ** 2 for loss, weight in pairs)
    return root(squares * n / (n - 1) / weight_sum**2)


def is_same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isnan(a) and math.isnan(b))


@given(rows)
def test_mean_is_rounded_once(pairs):
    loss_sum, weight_sum = (total(pair[i] for pair in pairs) for i in (0, 1))
    statistics = sums_of(pairs).statistics
    if weight_sum:
        assert statistics.mean == nearest(loss_sum / weight_sum)
    elif loss_sum:
        assert statistics.mean == (math.inf if loss_sum > 0 else -math.inf)
    else:
        assert math.isnan(statistics.mean)
    assert (statistics.loss_sum, statistics.weight_sum) == (nearest(loss_sum), nearest(weight_sum))


@given(positive_weights)
def test_standard_error_is_rounded_once(pairs):
    assert sums_of(pairs).statistics.standard_error == standard_error(pairs)


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300)), min_size=2, max_size=9))
def test_standard_error_is_right_for_numbers_of_all_magnitudes(pairs):
    assert sums_of(pairs).statistics.standard_error == standard_error(pairs)


@given(st.lists(st.floats(0, 50), min_size=2, max_size=30))
@example([0.0, 5e-324])
def test_standard_error_without_weights_is_that_of_a_sample(losses):
    n, mean = len(losses), total(losses) / len(losses)
    variance = total((Fraction(loss) - mean) ** 2 for loss in losses) / (n - 1)
    assert plain(losses).statistics.standard_error == root(variance / n)


def test_known_numbers():
    statistics = replace(plain([1.0, 2.0, 3.0, 4.0]), correct_count=3, ignored_count=2).statistics
    assert statistics == Statistics(
        mean=2.5,
        loss_sum=10.0,
        weight_sum=4.0,
        standard_error=math.sqrt(5 / 12),
        perplexity=math.exp(2.5),
        accuracy=0.75,
        row_count=4,
        ignored_count=2,
        nonfinite_count=0,
    )


def test_equal_losses_have_no_error():
    assert plain([0.1] * 7).statistics.standard_error == 0.0


@pytest.mark.parametrize(
    ("pairs", "mean", "error"),
    [
        ([], math.nan, math.nan),
        ([(2.0, 4.0)], 0.5, math.nan),
        ([(2.0, 0.0), (3.0, 0.0)], math.inf, math.nan),
        ([(-2.0, 0.0), (-3.0, 0.0)], -math.inf, math.nan),
        ([(0.0, 0.0), (0.0, 0.0)], math.nan, math.nan),
        ([(1.0, 1.0), (-3.0, -1.0)], -math.inf, math.nan),
        ([(math.nan, 1.0), (1.0, 1.0)], math.nan, math.nan),
        ([(math.inf, 1.0), (1.0, 1.0)], math.inf, math.nan),
        ([(math.inf, -1.0), (1.0, -1.0)], -math.inf, math.nan),
        ([(math.inf, 1.0), (-math.inf, 1.0)], math.nan, math.nan),
        ([(math.inf, 0.0), (1.0, 0.0)], math.inf, math.nan),
        ([(math.nan, 0.0), (1.0, 0.0)], math.nan, math.nan),
        ([(1.0, math.inf), (1.0, 1.0)], 0.0, math.nan),
        ([(1.0, math.nan), (1.0, 1.0)], math.nan, math.nan),
    ],
)
def test_odd_batches_are_what_ieee_754_makes_of_them(pairs, mean, error):
    statistics = sums_of(pairs).statistics
    assert is_same(statistics.mean, mean)
    assert is_same(statistics.standard_error, error)
    assert statistics.nonfinite_count == sum(not math.isfinite(loss) for loss, _ in pairs)


def test_perplexity_beyond_doubles_is_infinite():
    assert plain([1000.0]).statistics.perplexity == math.inf
    assert plain([-math.inf]).statistics.perplexity == 0.0


def test_accuracy_is_known_if_predictions_were_asked_for():
    assert sums_of([(1.0, 1.0)]).statistics.accuracy is None
    assert sums_of([(1.0, 1.0)] * 3, correct_count=1).statistics.accuracy == 1 / 3
    assert math.isnan(present_accuracy(ExactSums()))


def present_accuracy(sums: ExactSums) -> float:
    accuracy = sums.statistics.accuracy
    assert accuracy is not None
    return accuracy


@given(rows, st.data())
def test_parts_add_up_to_the_whole(pairs, data):
    order, cut = data.draw(st.permutations(pairs)), data.draw(st.integers(0, len(pairs)))
    assert sums_of(order[:cut], 1, 0) + sums_of(order[cut:], 2, 0) == sums_of(pairs, 3, 0)


def test_correct_predictions_are_counted_if_all_parts_were_asked_for_them():
    known, unknown = sums_of([(1.0, 1.0)], correct_count=1), sums_of([(2.0, 1.0)])
    assert (known + known).correct_count == 2
    assert (known + unknown).correct_count is (unknown + known).correct_count is None
    assert (ExactSums() + known).correct_count == 1


def test_sums_of_the_same_rows_are_the_same_with_and_without_correct_predictions():
    known = sums_of([(1.0, 2.0)], correct_count=1)
    assert known.is_same(replace(known, correct_count=None))
    assert replace(known, correct_count=None).is_same(known)
    assert not known.is_same(replace(known, correct_count=0))
    assert not known.is_same(replace(known, ignored_count=1))
    assert not known.is_same(replace(known, correct_count=None, weight_squared=ExactSum(1)))


@given(rows, st.integers(0, 2**40), st.one_of(st.none(), st.integers(0, 12)))
def test_message_comes_back(pairs, ignored, correct):
    sums = sums_of(pairs, ignored, correct)
    message = v1.ExactSums.FromString(sums.to_message().SerializeToString())
    assert ExactSums.from_message(message) == sums


def test_statistics_come_back():
    for sums in (plain([1.0, 2.0]), replace(plain([1.0, 2.5]), correct_count=1)):
        statistics = sums.statistics
        message = v1.Statistics.FromString(statistics.to_message().SerializeToString())
        assert Statistics.from_message(message) == statistics


def test_classes_merge():
    a, b = plain([1.0]), plain([2.0, 4.0])
    assert merged({5: a, 2: b}, {5: b, 9: a}) == {2: b, 5: a + b, 9: a}
    disjoint = merged({5: a}, {2: b})
    assert list(disjoint) == [2, 5]
    assert disjoint[5] is a  # nothing is added up, or a stream of many slabs and classes takes minutes
    messages = [v1.ClassSums(class_index=c, sums=sums.to_message()) for c, sums in ((2, a), (5, b))]
    assert by_class_from_messages(messages) == {2: a, 5: b}
