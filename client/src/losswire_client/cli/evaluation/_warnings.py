"""Warnings about a file that was evaluated, but whose numbers are doubtful."""

from collections.abc import Iterator

import numpy as np

from losswire_client._readers import told_place
from losswire_client._request.plausibility import Plausibility
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._nonfinite import NonfiniteLosses
from losswire_client.cli.evaluation.tallies._tallies import Tallies

LOOKED_AT = 2**16  # how many numbers of an evaluation are checked, in some hundredths of the evaluation's time
MIN_LOOKED_AT = 4  # rows


class Looks:
    """Looks at some rows of every evaluation of a file, and warns if they do not look like rows that the loss takes.

    Args:
        input_name: Name of the input's array.
        plan: What is done with the file.
    """

    def __init__(self, input_name: str, plan: Plan) -> None:
        self._plausibility = Plausibility(plan.loss.value, plan.ignore_index)
        self._input_name = input_name
        self._count = 0
        self._places: dict[str, tuple[int, ...]] = {}

    def add(self, evaluated: Evaluated) -> None:
        batch, rows = evaluated.batch, evaluated.losses.size
        most = max(MIN_LOOKED_AT, LOOKED_AT * rows // max(1, batch.input.size))
        self._plausibility.add(batch.input, batch.target, first_row=self._count, most=most)
        for argument, _, row in self._plausibility.findings():
            if row is not None and row >= self._count:
                self._places[argument] = evaluated.place(row - self._count)
        self._count += rows

    def warnings(self) -> Iterator[str]:
        for argument, problem, _ in self._plausibility.findings():
            where = f" at {told_place(self._places[argument])}" if argument in self._places else ""
            if argument == "input":
                yield f"{self._input_name}: {problem}{where}; --input-kind and --loss say what is meant"
            else:
                yield f"{argument}: {problem}{where}"


def of_losses(tallies: Tallies, plan: Plan) -> Iterator[str]:
    """Warnings about losses that are NaN or infinite, or that no probabilities can have."""
    yield from of_rows(tallies.nonfinite, tallies.sums.row_count)
    yield from of_mean(tallies.sums.loss, plan)


def of_rows(nonfinite: NonfiniteLosses, row_count: int) -> Iterator[str]:
    """Warnings about losses that are NaN or infinite, of so many rows."""
    if count := nonfinite.count:
        places = "; ".join(f"{told_place(place)} is {loss:g}" for _, place, loss in nonfinite.first)
        more = "" if count == len(nonfinite.first) else "; ..."
        yield f"{count:,} of {row_count:,} losses are NaN or infinite: {places}{more}"


def of_mean(loss: float, plan: Plan) -> Iterator[str]:
    """Warnings about a mean loss that no probabilities can have."""
    if loss < 0 and plan.has_perplexity:
        yield f"a perplexity of {np.exp(loss):.4g}, below 1, which no probabilities can have"
    elif loss < 0:
        yield f"a mean loss of {loss:.4g}, below 0, which no probabilities can have"
