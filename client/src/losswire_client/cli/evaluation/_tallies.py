from dataclasses import dataclass

from losswire_client import Result
from losswire_client.cli.evaluation._classes import ClassSums
from losswire_client.cli.evaluation._histogram import LossHistogram
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._sums import LossSums
from losswire_client.cli.readers import Array


@dataclass
class Tallies:
    """All that a plan wants to know of some rows, and how long they took."""

    class_count: int
    sums: LossSums
    classes: ClassSums | None
    histogram: LossHistogram | None
    seconds: float = 0.0

    @classmethod
    def of(cls, plan: Plan, class_count: int) -> "Tallies":
        """Of no rows yet."""
        classes = ClassSums(class_count, plan.ignore_index, plan.weight) if plan.per_class else None
        return cls(class_count, LossSums(), classes, LossHistogram(plan.ignore_index) if plan.histogram else None)

    def add(self, target: Array, result: Result) -> None:
        for tally in (self.sums, self.classes, self.histogram):
            if tally is not None:
                tally.add(target, result)
