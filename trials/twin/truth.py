"""What the answer to a batch is in float64, vectorised but otherwise straight from the definitions.

Not every row can be compared. Numbers beyond `TAME` and `LEAST` overflow or underflow what is computed in, or cancel,
and docs/numerics.md says what comes of infinities and NaN. The twin leaves such rows out: see `Truth.tame`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trials.twin.batch import Batch
from trials.twin.divergences import of_divergence
from trials.twin.heads import TAME, Logits
from trials.twin.rows import Rows, is_clear, outputs_of, outputs_of_targets

LEAST = {torch.float64: 1e-290, torch.float32: 1e-30}  # of factors, and 1 / the most: products of others lose digits
LEAST_SUM = 1e-6  # of the absolute weights: a smaller sum of weights is mostly what rounding left
LEAST_VARIANCE = float(torch.tensor(1e-12))  # as in PyTorch, where it is a float32, whatever the dtype
ORDERED = ("predictions", "target_ranks", "top_classes")  # outputs that hang on the order of classes alone


@dataclass(frozen=True)
class Truth:
    """The true answer in float64.

    Attributes:
        tensors: By the names of results: (R), or (R, C) for those of the input's shape, and (R, K) for the largest
            classes, of which answers may have fewer or more. Losses are not reduced.
        sizes: Of the same names, the sizes of the numbers that were added up for a row: (R) or (R, 1). Errors are
            roundings of these.
        tame: Rows that can be compared: (R) bool.
        known: These, and rows that are ignored, whose loss and gradient are 0 whatever their input: (R) bool.
        loss: Reduced; None with reduction ``none``, or if it cannot be compared.
        weight_sum: What ``mean`` divides by.
        weight_size: The sum of the absolute weights.
        row_count: Rows that counted.
        ignored_count: Rows that did not.
        correct_count: Rows that counted and whose prediction is their target; None if rounding may change it.
    """

    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, Tensor]
    tame: Tensor
    known: Tensor
    loss: float | None
    weight_sum: float
    weight_size: float
    row_count: int
    ignored_count: int
    correct_count: int | None


def truth(batch: Batch) -> Truth:
    """The true answer to a batch that the contract allows, whose rows have classes."""
    x = batch.rows(batch.input).double()
    rows = _ROWS[batch.loss](batch, x)
    weights = batch.numbers("sample_weight", *batch.row_shape).reshape(-1)
    losses = torch.where(rows.counted, rows.losses * weights, 0.0)
    counted = int(rows.counted.sum())
    weight_sum = float(rows.divisors[rows.counted].sum())
    reduction = batch.options.get("reduction", "mean")
    divisor = batch.options.get("divisor") or weight_sum
    scale = _scale(batch, weights, rows.counted, divisor if reduction == "mean" else 1.0)
    sizes = torch.where(rows.counted, rows.loss_sizes * weights.abs(), 0.0)
    wild = torch.stack([rows.magnitudes, sizes, rows.grad_sizes * scale.abs()])
    products = rows.own_weights * weights.abs(), rows.own_weights * scale.abs()
    factors = torch.stack([weights.abs(), scale.abs(), sizes, rows.grad_sizes, rows.unweighted, *products])
    least = LEAST[batch.compute_dtype]
    tame = ((wild <= TAME) & wild.isfinite()).all(0) & (
        (factors == 0) | (factors >= least) & (factors <= 1 / least)
    ).all(0)
    magnitudes = rows.magnitudes[:, None].clamp(min=1)
    return Truth(
        tensors={
            "loss": losses,
            "grad": torch.where(rows.counted[:, None], rows.grads * scale[:, None], 0.0),
            **_comparable(rows),
        },
        sizes={
            "loss": sizes,
            "grad": (rows.grad_sizes * scale.abs())[:, None] * magnitudes,
            **{name: _output_sizes(name, values, magnitudes) for name, values in rows.outputs.items()},
        },
        tame=tame,
        known=tame | ~rows.counted,
        loss=_reduced(batch, reduction, losses, tame | ~rows.counted, weight_sum, rows),
        weight_sum=weight_sum,
        weight_size=float(rows.divisors[rows.counted].abs().sum()),
        row_count=counted,
        ignored_count=len(losses) - counted,
        correct_count=int((rows.hits & rows.counted).sum()) if bool(rows.clear.all()) else None,
    )


def _scale(batch: Batch, weights: Tensor, counted: Tensor, divisor: float) -> Tensor:  # (R)
    incoming = batch.numbers("grad_output")
    flat = incoming.reshape(-1).expand(len(weights)) if incoming.numel() == 1 else incoming.reshape(-1)
    return torch.where(counted, weights * flat / divisor, 0.0)


def _reduced(
    batch: Batch, reduction: str, losses: Tensor, known: Tensor, weight_sum: float, rows: Rows
) -> float | None:
    if reduction == "none" or not bool(known.all()):
        return None
    if reduction == "sum":
        return float(losses.sum())
    if batch.options.get("divisor"):
        return float(losses.sum()) / float(batch.options["divisor"])
    if not bool(rows.counted.any()):
        return 0.0 if batch.options.get("empty") == "zero" else float("nan")
    size = float(rows.divisors[rows.counted].abs().sum())
    return float(losses.sum()) / weight_sum if abs(weight_sum) > LEAST_SUM * size else None


def _comparable(rows: Rows) -> dict[str, Tensor]:
    """The outputs; NaN in place of classes and ranks that rounding may change, since NaN is not compared."""
    return {
        name: values.double().masked_fill(_over(~rows.clear, values), torch.nan) if name in ORDERED else values
        for name, values in rows.outputs.items()
    }


def _over(rows: Tensor, values: Tensor) -> Tensor:  # (R) -> (R, 1) for wide values
    return rows[:, None] if values.dim() == 2 else rows


def _output_sizes(name: str, values: Tensor, magnitudes: Tensor) -> Tensor:
    if name in ORDERED:
        return torch.zeros_like(values, dtype=torch.float64)
    wide = values.abs().clamp(min=1) * magnitudes if values.dim() == 2 else None
    return values.abs().clamp(min=1) + magnitudes[:, 0] if wide is None else wide


def _of_classes(batch: Batch, input: Tensor) -> Rows:
    logits = Logits.of(input, batch.head("head"))
    x = logits.values.detach()
    by_probability, smoothing = batch.target.is_floating_point(), batch.options.get("label_smoothing", 0.0)
    counted = torch.ones(len(x), dtype=torch.bool)
    if by_probability:
        share = batch.rows(batch.target).to(batch.compute_dtype).double()
        answer, weights = share.argmax(1), _class_weights(batch, None)
        divisors = torch.ones(len(x), dtype=torch.float64)
    else:
        target = batch.target.reshape(-1).to(torch.int64)
        counted = target != batch.options.get("ignore_index", -100)
        answer = torch.where(counted, target, 0)
        share = torch.nn.functional.one_hot(answer, batch.classes).double()
        weights = _class_weights(batch, target[counted])
        divisors = weights[answer]
    wanted = weights * ((1 - smoothing) * share + smoothing / batch.classes)
    is_nll = batch.loss == "nll_loss"
    log_p = x if is_nll else x.log_softmax(1)
    terms = torch.where(wanted == 0, 0.0, wanted * log_p)
    size = wanted.abs().sum(1)
    grads = -wanted if is_nll else x.softmax(1) * wanted.sum(1, keepdim=True) - wanted
    outputs = outputs_of(x, log_p)
    if not by_probability:
        outputs |= outputs_of_targets(x, log_p, answer, counted)
    hits = outputs["predictions"] == answer
    sizes = size * (1 + logits.magnitudes)
    unweighted = share.abs().sum(1) * (1 + logits.magnitudes)
    z = batch.options.get("z_loss", 0.0) * divisors
    lse = outputs["lse"]
    z_losses, slopes = z * lse**2, 2 * z * lse
    losses, sizes = z_losses - terms.sum(1), sizes + z_losses.abs() + slopes.abs() * logits.magnitudes
    grads, grad_sizes = grads + slopes[:, None] * x.softmax(1), (size + slopes.abs()) * logits.growth
    clear = torch.ones(len(x), dtype=torch.bool)
    if batch.head("head") is not None:
        clear = is_clear(x, logits.magnitudes, batch.compute_dtype)
    return Rows(
        losses,
        sizes,
        logits.back(grads),
        grad_sizes,
        counted,
        divisors,
        unweighted,
        size,
        outputs,
        hits,
        logits.magnitudes,
        clear,
    )


def _class_weights(batch: Batch, counted_targets: Tensor | None) -> Tensor:  # (C)
    weight = batch.options.get("weight")
    if not isinstance(weight, str) or counted_targets is None:
        return batch.numbers("weight", batch.classes)
    return _from_counts(torch.bincount(counted_targets, minlength=batch.classes).double(), weight)


def _from_counts(counts: Tensor, weighting: str) -> Tensor:
    total = counts.sum()
    if weighting == "complement":
        return 1 - counts / total
    return torch.where(counts > 0, total / (len(counts) * counts), 0.0)


def _of_elements(batch: Batch, x: Tensor) -> Rows:
    x = x[:, 0]
    target = batch.target.to(batch.compute_dtype).double().reshape(-1)
    weights = _element_weights(batch, target)
    positive = batch.numbers("pos_weight", *batch.input.shape).reshape(-1)
    is_logits = batch.loss.endswith("logits")
    p = x.sigmoid() if is_logits else x
    positives = x > 0 if is_logits else x > 0.5  # the sigmoid of a tiny number rounds to one half
    log_p = logsigmoid(x) if is_logits else x.log().clamp(min=-100)
    log_q = logsigmoid(-x) if is_logits else (1 - x).log().clamp(min=-100)
    losses = -positive * target * log_p - (1 - target) * log_q
    # PyTorch, and so the engine, adds up terms of the size of the logit, which may cancel.
    sizes = ((positive * target).abs() + (1 - target).abs() + 1) * (1 + (x.abs() if is_logits else -log_p - log_q))
    if is_logits:
        grads, grad_sizes = (1 - target) * p - positive * target * (-x).sigmoid(), (positive * target).abs() + 1
    else:
        variance = (x * (1 - x)).clamp(min=LEAST_VARIANCE)
        grads, grad_sizes = (x - target) / variance, 1 / variance
    outputs = {
        "entropy": -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)),
        "probabilities": p[:, None],
        "log_probabilities": log_p[:, None],
        "predictions": positives.long(),
    }
    hits = positives == (target > 0.5)
    everywhere, ones = torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.float64)
    size = weights.abs()
    losses, grads = weights * losses, (weights * grads)[:, None]
    unweighted = torch.maximum(sizes, grad_sizes)
    of_weights = everywhere, ones, unweighted, size
    return Rows(losses, size * sizes, grads, size * grad_sizes, *of_weights, outputs, hits, x.abs(), everywhere)


def _element_weights(batch: Batch, target: Tensor) -> Tensor:  # (R)
    weight = batch.options.get("weight")
    if not isinstance(weight, str):
        return batch.numbers("weight", *batch.input.shape).reshape(-1)
    return _from_counts(torch.bincount(target.long(), minlength=2).double(), weight)[target.long()]


_ROWS: Mapping[str, Callable[[Batch, Tensor], Any]] = {
    "cross_entropy": _of_classes,
    "nll_loss": _of_classes,
    "linear_cross_entropy": _of_classes,
    "kl_divergence": of_divergence,
    "binary_cross_entropy": _of_elements,
    "binary_cross_entropy_with_logits": _of_elements,
}
