"""Histograms of losses, from which quantiles follow with a relative error of 1 % at most.

They are DDSketches (Masson, Rim and Lee, 2019, https://arxiv.org/abs/1908.10693) without limits of their size: bin i
has numbers in (g^(i-1), g^i] with g = 101 / 99. A table of bounds decides which, so that all machines agree.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

LEAST = 1e-12  # numbers of at most this have no bin
FRACTION_BITS = 320  # of bounds as whole numbers, so that their errors are far below a double's last bit
PART_ROWS = 2**18  # that are widened at a time


@dataclass(frozen=True, slots=True)
class Sketch:
    """How many numbers are in which bin. Those of parts add up in any order to the same counts.

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
        counts = Counter(dict(zip(self.bins, self.counts, strict=True)))
        counts.update(dict(zip(other.bins, other.counts, strict=True)))
        return _of_counts(counts, self.zero_count + other.zero_count)

    @classmethod
    def of(
        cls,
        losses: Tensor,  # (R)
        ignored_count: int = 0,  # of them, whose losses are 0
    ) -> "Sketch":
        """Of the losses of rows that count."""
        first, bounds = _table()
        counts, zero_count = Counter[int](), 0
        for part in torch.split(losses.detach().cpu(), PART_ROWS):
            x = part.double()
            in_bins = x[(x > LEAST) & x.isfinite()]
            places, found = torch.unique(torch.searchsorted(bounds, in_bins), return_counts=True)
            counts.update(dict(zip((places + first).tolist(), found.tolist(), strict=True)))
            zero_count += int((x <= LEAST).count_nonzero())
        return _of_counts(counts, zero_count - ignored_count)


def _of_counts(counts: Counter[int], zero_count: int) -> Sketch:
    ordered = sorted(counts.items())
    return Sketch(tuple(i for i, _ in ordered), tuple(count for _, count in ordered), zero_count)


@cache
def _table() -> tuple[int, Tensor]:
    """The first bin, and the largest doubles that are not above the bounds of it and of all after it."""
    power, number = 1 << FRACTION_BITS, 0
    while power > LEAST * 2**FRACTION_BITS:
        power, number = power * 99 // 101, number - 1
    bounds = []
    for first in range(number + 1, 1 << 16):
        power = power * 101 // 99 if first else 1 << FRACTION_BITS
        bounds.append(_double_below(power))
        if bounds[-1] == math.inf:
            break
    return number + 1, torch.tensor(bounds, dtype=torch.float64, device="cpu")


def _double_below(number: int) -> float:
    """The largest double of at most number / 2^FRACTION_BITS; infinity beyond all of them."""
    shift = number.bit_length() - 53
    try:
        return math.ldexp(number >> shift, shift - FRACTION_BITS)
    except OverflowError:
        return math.inf
