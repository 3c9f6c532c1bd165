"""Warnings about files that were compared, but whose numbers are hardly what the comparison takes."""

from collections.abc import Iterator

from losswire_client._readers.sides import Pair, PairRows
from losswire_client._request.plausibility import Plausibility
from losswire_client.cli.comparison._plan import Plan, Tail

LOOKED_AT = 2**16  # how many numbers of an evaluation are checked, in some hundredths of the evaluation's time
MIN_LOOKED_AT = 4  # rows


class Looks:
    """Looks at some rows of every evaluation of a pair, and warns if they do not look like distributions.

    Args:
        pair: The two files.
        plan: What is done with them.
    """

    def __init__(self, pair: Pair, plan: Plan) -> None:
        any_numbers = {
            "input": plan.candidate_head is not None,
            "target": plan.reference_head is not None or plan.tail is Tail.RENORMALIZE,  # which logits do for too
        }
        self._plausibility = Plausibility(
            "kl_divergence",
            plan.ignore_index,
            hidden=[name for name, are_any in any_numbers.items() if are_any],
            some_classes=plan.tail is not None,
        )
        self._names = {"target": f"{pair.reference.name} of A", "input": f"{pair.candidate.name} of B"}
        self._count = 0
        self._places: dict[str, int] = {}

    def add(self, rows: PairRows) -> None:
        count = len(rows.indices)
        most = max(MIN_LOOKED_AT, LOOKED_AT * count // max(1, rows.candidate.size))
        self._plausibility.add(rows.candidate, rows.reference, rows.labels, first_row=self._count, most=most)
        for argument, _, row in self._plausibility.findings():
            if row is not None and row >= self._count:
                self._places[argument] = int(rows.indices[row - self._count])
        self._count += count

    def warnings(self) -> Iterator[str]:
        for argument, problem, _ in self._plausibility.findings():
            where = f" at row {self._places[argument]}" if argument in self._places else ""
            yield f"{self._names[argument]}: {problem}{where}"
