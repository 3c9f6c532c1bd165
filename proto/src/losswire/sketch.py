"""Histograms of numbers, from which quantiles follow with a relative error of 1 % at most.

They are DDSketches (Masson, Rim and Lee, 2019, https://arxiv.org/abs/1908.10693): bin i has numbers in
(g^(i-1), g^i] with g = 101 / 99.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from losswire import v1
from losswire.errors import FieldError

LEAST = 1e-12  # numbers of at most this have no bin
GROWTH = Fraction(101, 99)
MIDDLE = 1.01  # of a bin, in units of its lower bound: 1 % from both ends


@dataclass(frozen=True, slots=True)
class Sketch:
    """How many numbers are in which bin. Those of parts add up in any order and grouping to the same counts.

        >>> sketch = Sketch.of([0.25, 4.0]) + Sketch.of([1.0])
        >>> sketch.quantile(0.5)  # within 1 % of 1

    NaN and infinity are in no bin.

    Attributes:
        bins: Ascending.
        counts: As many, above 0.
        zero_count: Numbers of at most 1e-12, negative ones too.
    """

    bins: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    zero_count: int = 0

    def __add__(self, other: "Sketch") -> "Sketch":
        if not isinstance(other, Sketch):
            return NotImplemented
        return _of_counts(self._by_bin() + other._by_bin(), self.zero_count + other.zero_count)

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "Sketch":
        """Of some numbers, each of which takes as long as a thousand in the engine."""
        given = list(numbers)
        counts = Counter(_bin(x) for x in given if LEAST < x < math.inf)
        return _of_counts(counts, sum(x <= LEAST for x in given))

    @property
    def count(self) -> int:
        """Numbers."""
        return self.zero_count + sum(self.counts)

    def quantile(self, part: float, infinite_count: int = 0) -> float:
        """The number that a part of the others, in [0, 1], is below: within 1 %, and 0 for those of at most 1e-12.

        It is that of rank ``part * (count - 1)``, rounded down, where the least has rank 0. NaN without numbers. So
        many infinite numbers count too, and are above all others.

        Raises:
            ValueError: The part is not in [0, 1].
        """
        if not 0 <= part <= 1:
            raise ValueError(f"expected a part in [0, 1], got {part}")
        if not self.count + infinite_count:
            return math.nan
        rank = math.floor(part * (self.count + infinite_count - 1))
        if rank >= self.count:
            return math.inf
        ends = accumulate(self.counts, initial=self.zero_count)
        passed = sum(end <= rank for end in ends)  # the numbers of at most 1e-12, and then bins
        return 0.0 if not passed else _middle(self.bins[passed - 1])

    @classmethod
    def from_message(cls, message: v1.Sketch) -> "Sketch":
        """Reads a sketch.

        Raises:
            FieldError: It is none.
        """
        bins, counts = tuple(message.bins), tuple(message.counts)
        if len(bins) != len(counts):
            raise FieldError("counts", f"expected as many as bins, {len(bins)}, got {len(counts)}")
        if any(a >= b for a, b in pairwise(bins)):
            raise FieldError("bins", "expected them in ascending order")
        if any(count <= 0 for count in counts):
            raise FieldError("counts", f"expected them above 0, got {min(counts)}")
        if message.zero_count < 0:
            raise FieldError("zero_count", f"expected at least 0, got {message.zero_count}")
        return cls(bins, counts, message.zero_count)

    def to_message(self) -> v1.Sketch:
        return v1.Sketch(bins=self.bins, counts=self.counts, zero_count=self.zero_count)

    def _by_bin(self) -> Counter[int]:
        return Counter(dict(zip(self.bins, self.counts, strict=True)))


def _of_counts(counts: Counter[int], zero_count: int) -> Sketch:
    ordered = sorted(counts.items())
    return Sketch(tuple(i for i, _ in ordered), tuple(count for _, count in ordered), zero_count)


def _bin(x: float) -> int:
    """Exactly, as the engine's table of bounds decides: a logarithm may be off by one near a bound."""
    number = math.ceil(math.log(x) / math.log(GROWTH))
    exact = Fraction(x)
    while exact > GROWTH**number:
        number += 1
    while exact <= GROWTH ** (number - 1):
        number -= 1
    return number


def _middle(number: int) -> float:
    try:
        return min(MIDDLE * float(GROWTH) ** (number - 1), sys.float_info.max)
    except OverflowError:
        return sys.float_info.max
