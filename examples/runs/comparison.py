"""The numbers beside a run's: PyTorch's of all rows at once, and what goes wrong without exact sums and keys."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from fleet import Answer
from validation import Rows

from losswire_client import Client, Run, RunResult

TOLERANCE = 1e-7  # of the mean: losses of rows are rounded to float32, once each


@dataclass(frozen=True)
class Means:
    """The mean loss, computed in several ways.

    Attributes:
        run: By the run.
        float64: By PyTorch, of all rows at once.
        float32: The same in float32.
        of_means: As the mean of the means of all keys.
        of_answers: By adding up all answers, those to repeats too.
    """

    run: float
    float64: float
    float32: float
    of_means: float
    of_answers: float

    @classmethod
    def of(cls, rows: Rows, run: Run, answers: Sequence[Answer]) -> "Means":
        listed = run.keys()
        return cls(
            run=run.result().mean,
            float64=by_torch(rows, "float64"),
            float32=by_torch(rows, "float32"),
            of_means=float(np.mean([key.mean for key in listed])),
            of_answers=sum(answer.loss_sum for answer in answers) / sum(answer.weight_sum for answer in answers),
        )


def by_torch(rows: Rows, dtype: str) -> float:
    """The mean loss of all rows at once."""
    import torch

    logits = torch.from_numpy(rows.logits).to(getattr(torch, dtype))
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(rows.target)))


def correct_sum(rows: Rows, client: Client) -> float:
    """The sum of the losses of all rows, which come one by one, without a run; Python rounds it once."""
    losses = client.cross_entropy(rows.logits, rows.target, reduction="none").loss
    return math.fsum(losses.tolist())


def keys_of(run: Run) -> list[str]:
    """The keys that count in a run."""
    listed = run.keys()
    return [key.key for key in listed]


def repeated(answers: Iterable[Answer]) -> list[str]:
    """The keys that counted already when they came again."""
    return sorted({answer.key for answer in answers if answer.was_counted})


def has_same_bits(a: RunResult, b: RunResult) -> bool:
    """Whether two results have the same sums: in total, by slice and by class."""
    return (
        a.sums == b.sums
        and {name: totals.sums for name, totals in a.by_slice.items()}
        == {name: totals.sums for name, totals in b.by_slice.items()}
        and {name: totals.sums for name, totals in a.by_class.items()}
        == {name: totals.sums for name, totals in b.by_class.items()}
    )
