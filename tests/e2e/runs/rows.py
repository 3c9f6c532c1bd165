"""Rows whose losses have any magnitude and sign, and what they come to by other means than the service's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from losswire_client import Client

CLASSES = 3
BITS = {"float32": np.uint32, "float64": np.uint64}
WEIGHTS = (None, (1.0, 1.0, 1.0), (0.1, 3.0, 1e-20), (1.5, -0.75, 0.0), (2.0**40, -(2.0**-60), 1.0))
MANY_DIGITS = Context(prec=80, Emin=-999_999, Emax=999_999)  # of a root, so that rounding it to a double is right

Array = npt.NDArray[Any]


class Numbers(NamedTuple):
    """What follows from rows."""

    loss_sum: float
    mean: float
    standard_error: float
    weight_sum: float


@dataclass(frozen=True)
class Rows:
    """Arguments of `nll_loss`, whose log-probabilities may be any numbers.

    Attributes:
        input: (N, CLASSES)
        target: (N)
        sample_weight: (N), or None.
        weight: (CLASSES), or None.
    """

    input: Array
    target: Array
    sample_weight: Array | None
    weight: Array | None

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, some: Any) -> "Rows":
        own = None if self.sample_weight is None else self.sample_weight[some]
        return Rows(self.input[some], self.target[some], own, self.weight)

    @property
    def options(self) -> dict[str, Any]:
        """Those of a run."""
        return {} if self.weight is None else {"weight": self.weight}

    def losses(self, client: Client) -> Array:
        """Of each row, rounded as the service rounds them. Without weights nothing is rounded."""
        given = {"sample_weight": self.sample_weight, **self.options}
        losses: Array = np.asarray(client.nll_loss(self.input, self.target, reduction="none", **given).loss)
        if self.weight is None and self.sample_weight is None:
            assert np.array_equal(losses, -self.input[np.arange(len(self)), self.target])
        return losses

    def numbers(self, client: Client) -> Numbers:
        """Of all rows, by fractions and decimals."""
        weights = [Fraction(1.0 if self.weight is None else float(self.weight[y])) for y in self.target]
        losses = [Fraction(float(loss)) for loss in self.losses(client)]
        total, weight = sum(losses, Fraction()), sum(weights, Fraction())
        mean = rounded(total / weight) if weight else float(np.divide(float(total), 0.0))
        return Numbers(rounded(total), mean, _standard_error(losses, weights), rounded(weight))


def rounded(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _standard_error(losses: Sequence[Fraction], weights: Sequence[Fraction]) -> float:
    n, weight = len(losses), sum(weights, Fraction())
    if n < 2 or not weight:
        return float("nan")
    mean = sum(losses, Fraction()) / weight
    squares = sum(((loss - mean * own) ** 2 for loss, own in zip(losses, weights, strict=True)), Fraction())
    variance = Fraction(n, n - 1) * squares / weight**2
    quotient = MANY_DIGITS.divide(Decimal(variance.numerator), Decimal(variance.denominator))
    return float(MANY_DIGITS.sqrt(quotient))


def any_rows(rng: Random, client: Client, count: int, dtype: str) -> Rows:
    """Rows from random bits, whose losses are finite."""
    weight = rng.choice(WEIGHTS)
    rows = Rows(
        any_numbers(rng, count * CLASSES, dtype).reshape(count, CLASSES),
        np.array([rng.randrange(CLASSES) for _ in range(count)]),
        any_numbers(rng, count, dtype, greatest=2.0**20) if rng.random() < 0.3 else None,
        None if weight is None else np.array(weight, dtype),
    )
    return rows[np.isfinite(rows.losses(client))]


def any_numbers(rng: Random, count: int, dtype: str, greatest: float = np.inf) -> Array:
    """Finite numbers of any exponent and sign; about half of them are of few exponents, so that they cancel."""
    bits = BITS[dtype]
    found = np.array([rng.getrandbits(8 * np.dtype(bits).itemsize) for _ in range(count)], bits).view(dtype)
    near = np.array([rng.uniform(-8.0, 8.0) for _ in range(count)], dtype)
    is_near = np.array([rng.random() < 0.5 for _ in range(count)])
    return np.where(is_near | ~np.isfinite(found) | (np.abs(found) >= greatest), near, found).astype(dtype)


def shards(rng: Random, rows: Rows, most: int) -> Iterator[tuple[str, Rows]]:
    """All rows in any order, in any number of parts under keys of their own. Some parts may be empty."""
    order = np.array(rng.sample(range(len(rows)), len(rows)), int)
    cuts = sorted(rng.randrange(len(rows) + 1) for _ in range(rng.randrange(rng.choice([2, most]))))
    for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        yield f"part-{number}", rows[order[first:last]]
