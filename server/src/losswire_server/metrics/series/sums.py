"""What is added up of one loss in one series."""

import math
from collections.abc import Sequence
from typing import Literal

import torch

import ce_engine
from losswire import v1
from losswire.dtypes import FLOATING
from losswire.monitoring.buckets import ROW_LOSSES
from losswire.monitoring.labels import TRANSPORTS
from losswire_server.metrics.series.exact import ExactSum
from losswire_server.requests.ends import Evaluated

Unsummed = Literal["nonfinite", "immense"]  # why an evaluation is in no sum
UNSUMMED: tuple[Unsummed, ...] = ("nonfinite", "immense")

# The last digit of a double of 2^40 is 2^-12: after the largest evaluation that is summed, a counter that had nothing
# before still shows losses of 0.0003. No model that works comes near: 2^40 rows of loss 1 are more than any batch.
# The bound is for one evaluation. A counter that has become larger by many of them still counts small losses, which
# `ExactSum` keeps until they change its last digit: the difference of two scrapes is wrong by one such digit, 2^-52
# of the counter, at most.
MAX_SUM = 2.0**40

Form = tuple[str, str]  # dtype and transport


class Signed:
    """A sum of numbers of either sign, as two that never fall: what adds to it, and what takes away from it."""

    def __init__(self) -> None:
        self.positive, self.negative = ExactSum(), ExactSum()

    def add(self, numbers: Sequence[float]) -> None:
        if not numbers or min(numbers) >= 0:
            self.positive.add(numbers)
        else:
            self.positive.add([number for number in numbers if number > 0])
            self.negative.add([-number for number in numbers if number < 0])


class LossSums:
    """Adds up evaluations of one loss in one series.

    Attributes:
        loss: Of all rows whose losses are finite.
        weight: Of the same rows.
        rows: Rows that counted, by dtype and transport.
        ignored: Rows that did not.
        nonfinite: Rows whose losses are NaN or infinite.
        unsummed: How many evaluations were left out of the sums, by reason.
        tallied: Rows by their losses: for each bound, how many have a finite loss of at most that much.
        finite: Rows whose losses are finite.
        predicted: Rows of requests that asked for predictions.
        correct: Of these, rows whose prediction is the target.
    """

    def __init__(self) -> None:
        self.loss, self.weight = Signed(), Signed()
        self.rows: dict[Form, int] = {}
        self.ignored = self.nonfinite = self.finite = self.predicted = self.correct = 0
        self.unsummed: dict[Unsummed, int] = dict.fromkeys(UNSUMMED, 0)
        self.tallied = torch.zeros(len(ROW_LOSSES), dtype=torch.int64, device="cpu")

    @classmethod
    def with_all_forms(cls) -> "LossSums":
        """Sums that show rows of all dtypes and transports from the start."""
        sums = cls()
        sums.rows = {(dtype, transport): 0 for dtype in FLOATING for transport in TRANSPORTS}
        return sums

    def add(self, evaluated: Evaluated, form: Form) -> None:
        """Adds evaluations, which have this dtype and transport."""
        responses, tally = evaluated.responses, evaluated.tally
        rows = sum([response.row_count for response in responses])
        self.rows[form] = self.rows.get(form, 0) + rows
        self.ignored += sum([response.ignored_count for response in responses])
        if responses[0].HasField("correct_count"):
            self.predicted += rows
            self.correct += sum([response.correct_count for response in responses])
        if tally is not None:
            self.tallied += tally.counts
            self.finite += tally.row_count
            self.nonfinite += tally.nonfinite_count
        self._sum(responses, tally)

    def _sum(self, responses: Sequence[v1.EvaluateResponse], tally: ce_engine.Tally | None) -> None:
        pairs, of_each = [(response.loss_sum, response.weight_sum) for response in responses], 1
        if tally is not None and tally.nonfinite_count:
            pairs, of_each = [(tally.loss_sum, tally.weight_sum)], len(responses)  # of all other rows
        summed = [pair for pair in pairs if _is_summed(*pair)]
        self.loss.add([loss for loss, _ in summed])
        self.weight.add([weight for _, weight in summed])
        if len(summed) < len(pairs):
            for pair in [pair for pair in pairs if not _is_summed(*pair)]:
                self.unsummed["immense" if all(map(math.isfinite, pair)) else "nonfinite"] += of_each


def _is_summed(loss: float, weight: float) -> bool:
    return abs(loss) <= MAX_SUM and abs(weight) <= MAX_SUM  # which no NaN is
