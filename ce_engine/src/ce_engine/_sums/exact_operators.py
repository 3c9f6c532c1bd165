"""Exact sums by PyTorch's operators on int64, where there is no compiled code."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._sums.exact_sum import UNIT_EXPONENT, ExactSum

DIGITS, DIGIT_BITS = 136, 32  # as in native/sums/exact_sums.h
FRACTION_BITS, BIAS = 52, 1075  # a double is significand * 2^(exponent - BIAS)
INFINITE_EXPONENT = 0x7FF
HALF_BITS = 27  # of significands, whose halves' products fit int64
PART_ROWS = 2**16  # far fewer than what overflows a digit


def exact_sum(*factors: Tensor) -> ExactSum:
    """The sum of (R), or of the products of two (R)."""
    parts = zip(*(torch.split(factor, PART_ROWS) for factor in factors), strict=True)
    return sum((_of_part([part.double() for part in of_rows]) for of_rows in parts), ExactSum())


class _Dissected(NamedTuple):
    """Doubles as integers; 0 for those that are not finite."""

    significand: Tensor
    exponent: Tensor
    sign: Tensor  # 1 or -1

    @classmethod
    def of(cls, x: Tensor) -> "_Dissected":
        bits = x.view(torch.int64)
        biased = (bits >> FRACTION_BITS) & INFINITE_EXPONENT
        fraction = bits & ((1 << FRACTION_BITS) - 1)
        significand = torch.where(biased > 0, fraction + (1 << FRACTION_BITS), fraction)
        significand = torch.where(biased == INFINITE_EXPONENT, 0, significand)
        return cls(significand, biased.clamp(1, INFINITE_EXPONENT - 1), torch.where(bits < 0, -1, 1))


def _of_part(factors: list[Tensor]) -> ExactSum:
    digits = torch.zeros(DIGITS, dtype=torch.int64, device="cpu")
    dissected = [_Dissected.of(factor) for factor in factors]
    is_finite = torch.stack([factor.isfinite() for factor in factors]).all(0)
    for significand, place, sign in _terms(dissected):
        _add(digits, torch.where(is_finite, significand, 0), place, sign)
    units = sum(digit << i * DIGIT_BITS for i, digit in enumerate(digits.tolist()) if digit)
    return ExactSum(units, *_counts([factor[~is_finite] for factor in factors]))


def _terms(factors: list[_Dissected]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Significands of less than 2^54, the places of their lowest bits, and signs: together they are the products."""
    exponents = torch.stack([factor.exponent for factor in factors])
    place = exponents.sum(0) - BIAS * len(factors) - UNIT_EXPONENT
    if len(factors) == 1:
        yield factors[0].significand, place, factors[0].sign
        return
    (a, b), sign = (_halves(factor.significand) for factor in factors), factors[0].sign * factors[1].sign
    yield a[0] * b[0], place, sign
    yield a[0] * b[1] + a[1] * b[0], place + HALF_BITS, sign
    yield a[1] * b[1], place + 2 * HALF_BITS, sign


def _halves(significand: Tensor) -> tuple[Tensor, Tensor]:
    return significand & ((1 << HALF_BITS) - 1), significand >> HALF_BITS


def _add(digits: Tensor, significand: Tensor, place: Tensor, sign: Tensor) -> None:
    at, shift = place // DIGIT_BITS, place % DIGIT_BITS
    rest = significand >> (DIGIT_BITS - shift)
    lowest = (significand - (rest << (DIGIT_BITS - shift))) << shift
    for i, digit in enumerate((lowest, rest & ((1 << DIGIT_BITS) - 1), rest >> DIGIT_BITS)):
        digits.index_add_(0, at + i, digit * sign)


def _counts(factors: list[Tensor]) -> tuple[int, int, int]:
    """How many products are NaN, and positive and negative infinity, if a factor of each is not finite."""
    product = factors[0] if len(factors) == 1 else factors[0] * factors[1]
    return tuple(int(found.count_nonzero()) for found in (product.isnan(), product.isposinf(), product.isneginf()))  # type: ignore[return-value]
