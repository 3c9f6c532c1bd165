"""Small numbers count in a counter of any size: compared with exact arithmetic."""

import math
import random
from fractions import Fraction

import pytest

from losswire_server.metrics.series.exact import ExactSum
from losswire_server.metrics.series.sums import MAX_SUM


def shown(*batches: list[float]) -> list[float]:
    """What a sum shows after each addition."""
    total, values = ExactSum(), []
    for numbers in batches:
        total.add(numbers)
        values.append(total.shown)
    return values


def exact(*batches: list[float]) -> Fraction:
    return sum((Fraction(number) for numbers in batches for number in numbers), Fraction())


def digit(number: float) -> Fraction:
    return Fraction(math.ulp(number))


@pytest.mark.parametrize("size", [MAX_SUM, 2.0**53, 2.0**60, 1e30])
def test_small_numbers_add_up_in_a_sum_of_any_size(size):
    small = math.ulp(size) / 1024
    batches = [[size], *([[small]] * 10_000)]
    values = shown(*batches)
    assert size + small == size
    assert values[-1] - size == pytest.approx(10_000 * small, abs=math.ulp(size))
    assert values == sorted(values)


@pytest.mark.parametrize("seed", range(20))
def test_shown_is_the_exact_sum_up_to_its_last_digit(seed):
    chance = random.Random(seed)
    batches = [[2 ** chance.uniform(-40, 40) for _ in range(chance.randint(1, 5))] for _ in range(2000)]
    values = shown(*batches)
    assert values == sorted(values)
    for end in (1, 10, 500, 2000):
        assert abs(Fraction(values[end - 1]) - exact(*batches[:end])) <= digit(values[end - 1])


def test_order_does_not_matter():
    chance = random.Random(0)
    batches = [[2 ** chance.uniform(-30, 40)] for _ in range(3000)]
    orders = [batches, sorted(batches), sorted(batches, reverse=True)]
    values = [shown(*order)[-1] for order in orders]
    assert max(values) - min(values) <= math.ulp(max(values))


def test_nothing_is_added_by_nothing():
    assert shown([], [0.0], [5.0], [], [0.0]) == [0, 0, 5, 5, 5]
    assert shown([math.ulp(0.0)], [1.0])[-1] == 1


def test_sum_never_falls_where_rounding_went_up():
    values = shown([2.0**52, 0.75], [1e-9], [0.0], [1e-9])
    assert values == sorted(values)
