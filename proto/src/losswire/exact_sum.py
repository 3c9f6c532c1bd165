"""The exact sum of numbers: an integer, in units in which every double and every product of two doubles is whole."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from losswire import v1
from losswire.errors import FieldError

UNIT_EXPONENT = -2176  # the first multiple of 32 below -2148, which is twice the exponent of the least double
DIGIT_BITS = 32
UNITS_IN_ONE = 1 << -UNIT_EXPONENT


@dataclass(frozen=True, slots=True)
class ExactSum:
    """The exact sum of any numbers of double precision, or of products of two of them.

    Sums add up in any order and grouping to the same sum. ``float`` rounds one, once, to the nearest double, as
    ``math.fsum`` would, and gives NaN or infinity if such numbers are among the summands.

        >>> float(ExactSum.of([1e16, 1.0]) + ExactSum.of([-1e16]))
        1.0

    Attributes:
        units: The sum of the finite numbers, in units of 2^-2176.
        nan_count: Numbers that are NaN.
        positive_infinity_count: Numbers that are infinite, and positive.
        negative_infinity_count: Numbers that are infinite, and negative.
    """

    units: int = 0
    nan_count: int = 0
    positive_infinity_count: int = 0
    negative_infinity_count: int = 0

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "ExactSum":
        """The sum of some numbers. For many numbers of an array, ask a server for it, or ``ce_engine``."""
        return sum((_of_one(float(number)) for number in numbers), cls())

    @property
    def nonfinite_count(self) -> int:
        return self.nan_count + self.positive_infinity_count + self.negative_infinity_count

    @property
    def fraction(self) -> Fraction:
        """The sum of the finite numbers."""
        return Fraction(self.units, UNITS_IN_ONE)

    @property
    def nonfinite(self) -> float:
        """What the summands that are not finite come to: NaN or infinity; 0 if there are none."""
        if self.nan_count or (self.positive_infinity_count and self.negative_infinity_count):
            return math.nan
        if self.positive_infinity_count:
            return math.inf
        return -math.inf if self.negative_infinity_count else 0.0

    def __add__(self, other: "ExactSum") -> "ExactSum":
        if not isinstance(other, ExactSum):
            return NotImplemented
        return ExactSum(
            self.units + other.units,
            self.nan_count + other.nan_count,
            self.positive_infinity_count + other.positive_infinity_count,
            self.negative_infinity_count + other.negative_infinity_count,
        )

    def __repr__(self) -> str:
        """The sum as a number, since its units have hundreds of digits."""
        others = {"nan": self.nan_count, "inf": self.positive_infinity_count, "-inf": self.negative_infinity_count}
        told = "".join(f" + {count} x {name}" for name, count in others.items() if count)
        return f"<ExactSum {quotient(self.units, UNITS_IN_ONE)!r}{told}>"

    def __float__(self) -> float:
        return self.nonfinite or quotient(self.units, UNITS_IN_ONE)

    @classmethod
    def from_message(cls, message: v1.ExactSum) -> "ExactSum":
        """Reads a sum.

        Raises:
            FieldError: It is none.
        """
        exponents, significands = message.exponents, message.significands
        if len(exponents) != len(significands):
            problem = f"expected as many as exponents, {len(exponents)}, got {len(significands)}"
            raise FieldError("significands", problem)
        if exponents and not UNIT_EXPONENT <= min(exponents) <= max(exponents) < -2 * UNIT_EXPONENT:
            raise FieldError("exponents", f"expected them from {UNIT_EXPONENT} to {-2 * UNIT_EXPONENT - 1}")
        units = sum(digit << exponent - UNIT_EXPONENT for digit, exponent in zip(significands, exponents, strict=True))
        counts = message.nan_count, message.positive_infinity_count, message.negative_infinity_count
        return cls(units, *counts)

    def to_message(self) -> v1.ExactSum:
        message = v1.ExactSum()
        self.fill(message)
        return message

    def fill(self, message: v1.ExactSum) -> None:
        """Writes the sum to a message that is empty."""
        message.SetInParent()
        for exponent, significand in _terms(self.units):
            message.exponents.append(exponent)
            message.significands.append(significand)
        if self.nonfinite_count:
            message.nan_count = self.nan_count
            message.positive_infinity_count = self.positive_infinity_count
            message.negative_infinity_count = self.negative_infinity_count


ZERO = ExactSum()


def quotient(a: int, b: int) -> float:
    """The double nearest to a / b; infinite beyond the range of doubles, and as in IEEE 754 for a divisor of 0."""
    try:
        return a / b if a or b else math.nan
    except (OverflowError, ZeroDivisionError):
        return math.inf if (a < 0) == (b < 0) else -math.inf


def _of_one(number: float) -> ExactSum:
    if math.isfinite(number):
        numerator, denominator = number.as_integer_ratio()
        return ExactSum(numerator * (UNITS_IN_ONE // denominator))
    return ExactSum(0, math.isnan(number), number == math.inf, number == -math.inf)


def _terms(units: int) -> Iterator[tuple[int, int]]:
    """The exponents and significands of a sum, without those that are 0."""
    sign, rest = (-1 if units < 0 else 1), abs(units)
    skipped = ((rest & -rest).bit_length() - 1) // DIGIT_BITS if rest else 0
    rest, exponent = rest >> skipped * DIGIT_BITS, UNIT_EXPONENT + skipped * DIGIT_BITS
    for digit in memoryview(rest.to_bytes(-(-rest.bit_length() // DIGIT_BITS) * 4, "little")).cast("I"):
        if digit:
            yield exponent, sign * digit
        exponent += DIGIT_BITS
