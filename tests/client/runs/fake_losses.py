"""The losses of the fake service: slow, in numpy, with exact sums of their rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire.losses import loss_of, options_of
from losswire.tensors import decode, encode

Array = npt.NDArray[Any]
OUTPUTS = v1.Output


class Rows:
    """The rows of one request, whose tensors are here.

    Attributes:
        losses: One number a row, in float32, 0 where a row is ignored.
        weights: What each row adds to what ``mean`` divides by.
        counts: Whether each row counts.
        predictions: The class with the largest input.
        classes: The class that each row belongs to.
    """

    losses: Array
    weights: Array
    counts: Array
    predictions: Array
    classes: Array

    def __init__(self, spec: v1.LossSpec, arrays: Mapping[str, Array]) -> None:
        loss, x, target = loss_of(spec), arrays["input"].astype(np.float64), arrays["target"]
        self._options = options_of(spec)
        if loss.startswith("binary"):
            self._binary(x, target.astype(np.float64), from_logits=loss.endswith("logits"))
        else:
            self._of_classes(x if loss == "nll_loss" else _log_softmax(x), target)
        factor = arrays.get("sample_weight", np.ones(()))
        self.losses = (self.losses * factor).astype(np.float32)
        self.weights = self.weights.astype(np.float32)

    def sums(self, of_class: int | None = None, *, has_predictions: bool) -> ExactSums:
        chosen = self.counts if of_class is None else self.counts & (self.classes == of_class)
        losses, weights = (array[chosen].astype(np.float64) for array in (self.losses, self.weights))  # exact products
        right = int((self.predictions == self.classes)[chosen].sum())
        return ExactSums(
            loss=ExactSum.of(losses),
            weight=ExactSum.of(weights),
            loss_squared=ExactSum.of(losses * losses),
            loss_times_weight=ExactSum.of(losses * weights),
            weight_squared=ExactSum.of(weights * weights),
            row_count=int(chosen.sum()),
            ignored_count=int((~self.counts).sum()) if of_class is None else 0,
            correct_count=right if has_predictions else None,
        )

    def by_class(self, *, has_predictions: bool) -> dict[int, ExactSums]:
        present = np.unique(self.classes[self.counts])
        return {int(one): self.sums(int(one), has_predictions=has_predictions) for one in present}

    def _of_classes(self, log_probabilities: Array, target: Array) -> None:
        ignored = self._options.ignore_index if self._options.HasField("ignore_index") else -100
        self.counts, self.classes = target != ignored, np.where(target == ignored, 0, target)
        weight = self._tensor("weight", np.ones(log_probabilities.shape[1]))
        rows, smoothing = np.arange(len(target)), getattr(self._options, "label_smoothing", 0.0)
        own = -log_probabilities[rows, self.classes] * weight[self.classes]
        spread = -(log_probabilities * weight).mean(1)
        self.losses = np.where(self.counts, (1 - smoothing) * own + smoothing * spread, 0)
        self.weights = weight[self.classes]
        self.predictions = log_probabilities.argmax(1)

    def _binary(self, x: Array, target: Array, *, from_logits: bool) -> None:
        positive, negative = (-np.logaddexp(0, -x), -np.logaddexp(0, x)) if from_logits else (np.log(x), np.log1p(-x))
        factor = self._tensor("pos_weight", np.ones(())) if from_logits else 1.0
        self.losses = -(factor * target * positive + (1 - target) * negative) * self._tensor("weight", np.ones(()))
        self.weights, self.counts = np.ones(x.shape), np.ones(x.shape, bool)
        self.predictions, self.classes = (x > (0.0 if from_logits else 0.5)).astype(int), (target > 0.5).astype(int)

    def _tensor(self, name: str, default: Array) -> Array:
        return decode(getattr(self._options, name), name) if self._options.HasField(name) else default


def answer(request: v1.EvaluateRequest, rows: Rows) -> v1.EvaluateResponse:
    """The answer without gradient, with what was asked for among exact sums and predictions."""
    has_predictions = OUTPUTS.OUTPUT_PREDICTIONS in request.outputs.outputs
    sums = rows.sums(has_predictions=has_predictions)
    statistics = sums.statistics
    response = v1.EvaluateResponse(
        loss_sum=statistics.loss_sum,
        weight_sum=statistics.weight_sum,
        row_count=sums.row_count,
        ignored_count=sums.ignored_count,
        correct_count=sums.correct_count,
    )
    reduced = {v1.Reduction.REDUCTION_MEAN: statistics.mean, v1.Reduction.REDUCTION_SUM: statistics.loss_sum}
    loss = np.asarray(reduced.get(request.spec.reduction, rows.losses), np.float32)
    encode(loss, response.loss, "loss")
    if has_predictions:
        encode(rows.predictions.astype(np.int64), response.predictions, "predictions")
    if request.HasField("exact"):
        response.exact.CopyFrom(sums.to_message())
        for number, of_class in (
            rows.by_class(has_predictions=has_predictions).items() if request.exact.by_class else ()
        ):
            response.exact_by_class.add(class_index=number, sums=of_class.to_message())
    return response


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(1, keepdims=True)
    log_probabilities: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return log_probabilities
