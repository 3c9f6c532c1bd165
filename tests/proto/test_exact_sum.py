"""Exact sums as integers, beside ``math.fsum`` and rational numbers, and as messages."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from losswire import v1
from losswire.errors import FieldError
from losswire.exact_sum import UNIT_EXPONENT, UNITS_IN_ONE, ExactSum, quotient
from losswire.exact_sums import ExactSums

LARGEST, LEAST = 1.7976931348623157e308, 5e-324
doubles = st.floats(allow_nan=False, allow_infinity=False)
products = st.tuples(doubles, doubles).map(lambda pair: Fraction(pair[0]) * Fraction(pair[1]))
counts = st.integers(0, 2**62)
sums = st.builds(
    ExactSum, st.lists(products).map(lambda xs: int(sum(xs, Fraction()) * UNITS_IN_ONE)), counts, counts, counts
)


def is_same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(st.lists(doubles))
def test_sum_of_doubles_is_rounded_once(numbers):
    exact = ExactSum.of(numbers)
    assert exact.fraction == sum(map(Fraction, numbers))
    try:
        expected = math.fsum(numbers)
    except OverflowError:  # of a sum on the way; the whole may be in range
        return
    assert float(exact) == expected


@given(st.lists(st.floats()), st.data())
def test_any_order_and_grouping_gives_the_same_sum(numbers, data):
    order = data.draw(st.permutations(numbers))
    cut = data.draw(st.integers(0, len(numbers)))
    assert ExactSum.of(order[:cut]) + ExactSum.of(order[cut:]) == ExactSum.of(numbers)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], 0.0),
        ([LARGEST, LARGEST, -LARGEST], LARGEST),
        ([LARGEST, LARGEST], math.inf),
        ([-LARGEST, -LARGEST], -math.inf),
        ([LEAST, LEAST, -LEAST], LEAST),
        ([1.0, 2.0**-53, 2.0**-106], math.nextafter(1, 2)),
        ([math.inf, -LARGEST], math.inf),
        ([-math.inf, LARGEST], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, math.inf], math.nan),
    ],
)
def test_sum_is_read_as_ieee_754_adds(numbers, expected):
    assert is_same(float(ExactSum.of(numbers)), expected)


def test_numbers_that_are_not_finite_are_counted_apart():
    exact = ExactSum.of([math.nan, math.inf, math.inf, -math.inf, 0.5])
    assert exact == ExactSum(UNITS_IN_ONE // 2, 1, 2, 1)
    assert exact.nonfinite_count == 4
    assert exact.fraction == Fraction(1, 2)


@given(sums)
def test_message_has_one_form_and_comes_back(exact):
    message = exact.to_message()
    assert ExactSum.from_message(v1.ExactSum.FromString(message.SerializeToString())) == exact
    exponents, significands = list(message.exponents), list(message.significands)
    assert exponents == sorted(set(exponents))
    assert all(exponent % 32 == 0 and exponent >= UNIT_EXPONENT for exponent in exponents)
    assert all(0 < digit * (-1 if exact.units < 0 else 1) < 2**32 for digit in significands)
    of_terms = [Fraction(2) ** exponent * digit for exponent, digit in zip(exponents, significands, strict=True)]
    assert sum(of_terms) == exact.fraction


@given(sums, sums)
def test_messages_add_up_digit_by_digit(a, b):
    both, added = [x.to_message() for x in (a, b)], v1.ExactSum()
    for message in both:
        added.exponents.extend(message.exponents)
        added.significands.extend(message.significands)
    assert ExactSum.from_message(added).units == (a + b).units


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, LEAST, -LEAST, 1.0, 0.1])
def test_product_of_any_doubles_fits_a_message(number):
    units = Fraction(number) ** 2 * UNITS_IN_ONE
    assert units.denominator == 1
    exact = ExactSum(units.numerator * 2**63)  # of the most rows that can be counted
    assert ExactSum.from_message(exact.to_message()) == exact


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (v1.ExactSum(exponents=[0, 32], significands=[1]), "significands: expected as many as exponents, 2, got 1"),
        (v1.ExactSum(exponents=[-2208], significands=[1]), "exponents: expected them from -2176 to 4351"),
        (v1.ExactSum(exponents=[4352], significands=[1]), "exponents: expected them from -2176 to 4351"),
    ],
)
def test_message_that_is_no_sum_is_refused(message, problem):
    with pytest.raises(FieldError) as raised:
        ExactSum.from_message(message)
    assert problem in str(raised.value)


@given(st.integers(-(2**5000), 2**5000), st.integers(-(2**5000), 2**5000).filter(bool))
def test_quotient_is_the_nearest_double(a, b):
    found = quotient(a, b)
    exact = Fraction(a, b)
    if math.isfinite(found):
        error = abs(Fraction(found) - exact)
        neighbours = (math.nextafter(found, math.inf), math.nextafter(found, -math.inf))
        assert all(abs(Fraction(near) - exact) >= error for near in neighbours if math.isfinite(near))
    else:
        assert abs(exact) >= Fraction(LARGEST) + Fraction(2) ** 970
        assert (found > 0) == (exact > 0)


@pytest.mark.parametrize("size", [1, 2**4000], ids=["small", "beyond doubles"])
def test_quotient_by_0_is_that_of_ieee_754(size):
    assert quotient(size, 0) == math.inf
    assert quotient(-size, 0) == -math.inf
    assert math.isnan(quotient(0, 0))


def test_sum_is_shown_as_a_number():
    shown = repr(ExactSum.of([0.5, 0.25, math.nan, -math.inf, -math.inf]))
    assert shown == "<ExactSum 0.75 + 1 x nan + 2 x -inf>"


@pytest.mark.parametrize("kind", [ExactSum, ExactSums])
@pytest.mark.parametrize("other", [None, 0, 1.5])
def test_sums_add_up_with_sums_alone(kind, other):
    for add in (lambda: kind() + other, lambda: other + kind()):
        with pytest.raises(TypeError, match="unsupported operand"):
            add()
