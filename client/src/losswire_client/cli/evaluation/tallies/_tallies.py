from dataclasses import dataclass, field

from losswire_client._readers import Dataset
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.tallies._classes import ClassSums, class_sums
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._histogram import LossHistogram
from losswire_client.cli.evaluation.tallies._nonfinite import NonfiniteLosses
from losswire_client.cli.evaluation.tallies._spread import Spread
from losswire_client.cli.evaluation.tallies._sums import LossSums


@dataclass
class Tallies:
    """All sums that a plan wants over some rows, the time that they took, and the bytes of text that they stand for."""

    classes: ClassSums | None = None
    histogram: LossHistogram | None = None
    sums: LossSums = field(default_factory=LossSums)
    spread: Spread = field(default_factory=Spread)
    nonfinite: NonfiniteLosses = field(default_factory=NonfiniteLosses)
    seconds: float = 0.0
    byte_count: int | None = None

    @classmethod
    def of(cls, dataset: Dataset, plan: Plan) -> "Tallies":
        """Empty tallies for the rows of a file, or of several files like it."""
        classes = class_sums(dataset, plan) if plan.per_class else None
        return cls(classes, LossHistogram() if plan.histogram else None)

    def add(self, evaluated: Evaluated) -> None:
        for tally in (self.sums, self.spread, self.nonfinite, self.classes, self.histogram):
            if tally is not None:
                tally.add(evaluated)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean loss."""
        return self.spread.standard_error(self.sums)
