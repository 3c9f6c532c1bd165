import math

import pytest

from losswire_client.cli import _units


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00000912, "9.12 us"), (0.00124, "1.24 ms"), (0.0999, "99.9 ms"), (1.0, "1 s"), (754.2, "754 s"), (0.0, "0 us")],
)
def test_seconds_have_a_suitable_unit(value, text):
    assert _units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (12.345, "12.3"), (12345.6, "12,346"), (math.nan, "nan"), (math.inf, "inf")],
)
def test_numbers_have_three_digits(value, text):
    assert _units.significant(value) == text
