"""Divergences of a target's distribution p and the input's distribution q."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trials.twin.batch import Batch
from trials.twin.heads import Logits
from trials.twin.rows import Rows, first_of_largest, is_clear, outputs_of, outputs_of_targets

NOTHING = -1  # no class


@dataclass(frozen=True)
class _Pair:
    """Log-probabilities over the same classes, (R, n).

    Attributes:
        log_p: The target's.
        log_q: The input's, which hang on its logits.
        some: Classes that there are: bool. The numbers of others are 0.
        doubts: (R): what of a row's size comes from a difference that cancels.
    """

    log_p: Tensor
    log_q: Tensor
    some: Tensor
    doubts: Tensor


def of_divergence(batch: Batch, input: Tensor) -> Rows:
    """The rows of a divergence, of its input (R, C) or (R, H)."""
    logits, target = Logits.of(input, batch.head("head")), batch.target.to(batch.compute_dtype).double()
    target = target.reshape(batch.row_count, target.shape[-1])
    p_logits = Logits.of(target, batch.head("target_head"))
    counted, labels = _labels(batch)
    temperature = batch.options.get("temperature", 1.0)
    x = logits.values.detach().requires_grad_()
    with torch.enable_grad():
        pair = _pair(batch, x, p_logits.values.detach(), temperature)
        losses, spread = _divergence(batch, pair)
        (grads,) = torch.autograd.grad(losses.sum(), x)
    own = pair.log_p.where(pair.some, 0).abs().amax(1) if pair.log_p.shape[1] else torch.zeros(len(x))
    named = own if "target_classes" in batch.options else p_logits.magnitudes
    magnitudes = (1 + logits.magnitudes + named.double()) / min(1.0, temperature) + pair.doubts
    mass = 1 + (pair.log_p.exp() * pair.some).sum(1)
    x = x.detach() / temperature
    outputs = outputs_of(x, x.log_softmax(1))
    if labels is not None:
        outputs |= outputs_of_targets(x, outputs["log_probabilities"], labels, counted)
    clear = is_clear(x, magnitudes, batch.compute_dtype)
    if batch.head("target_head") is not None:
        clear &= is_clear(p_logits.values.detach(), p_logits.magnitudes, batch.compute_dtype)
    ones = torch.ones(len(x), dtype=torch.float64)
    return Rows(
        losses.detach(),
        (mass + spread) * magnitudes,
        logits.back(grads),
        (mass + spread) * logits.growth / temperature,
        counted,
        ones,
        (mass + spread) * magnitudes,
        ones,
        outputs,
        outputs["predictions"] == _likeliest(batch, p_logits.values.detach()),
        magnitudes,
        clear,
    )


def _labels(batch: Batch) -> tuple[Tensor, Tensor | None]:  # (R) bool, and (R)
    labels = batch.options.get("labels")
    if labels is None:
        return torch.ones(batch.row_count, dtype=torch.bool), None
    flat = labels.reshape(-1).to(torch.int64)
    counted = flat != batch.options.get("ignore_index", -100)
    return counted, torch.where(counted, flat, 0)


def _pair(batch: Batch, x: Tensor, y: Tensor, temperature: float) -> _Pair:
    classes = batch.options.get("target_classes")
    if classes is None:
        log_p, log_q = (y / temperature).log_softmax(1), (x / temperature).log_softmax(1)
        return _Pair(log_p, log_q, torch.ones_like(x, dtype=torch.bool), x.new_zeros(len(x)))
    some = y != -torch.inf
    at = torch.where(some, classes.reshape(y.shape).to(torch.int64), 0)
    log_p, none = torch.where(some, y, 0), x.new_zeros(len(x))
    if batch.options["tail"] == "renormalize":
        log_p, log_q = (_conditioned(z / temperature, some) for z in (log_p, x.gather(1, at)))
        return _Pair(log_p, log_q, some, none)
    log_q = x.log_softmax(1)
    own = torch.where(some, log_q.gather(1, at), 0)
    if batch.options["tail"] == "drop":
        return _Pair(log_p, own, some, none)
    return _with_rest(log_p, own, log_q, some, at)


def _conditioned(x: Tensor, some: Tensor) -> Tensor:  # (R, k)
    any_class = some | ~some.any(1, keepdim=True)  # a row that names nothing has no sum
    return torch.where(some, x - torch.where(any_class, x, -torch.inf).logsumexp(1, keepdim=True), 0)


def _with_rest(log_p: Tensor, own: Tensor, log_q: Tensor, some: Tensor, at: Tensor) -> _Pair:
    """With one class more, of all that are not named, if there are any."""
    named = torch.zeros_like(log_q).scatter_reduce(1, at, some.double(), "amax").bool()
    has_rest = ~named.all(1, keepdim=True)
    others = torch.where(named & has_rest, -torch.inf, log_q).logsumexp(1, keepdim=True)
    shares = (log_p.exp() * some).sum(1, keepdim=True)
    rest = (1 - shares).clamp(min=0)
    log_rest = torch.where(has_rest, rest.log(), 0)
    doubts = torch.where(has_rest, others.exp() * shares / rest, 0)[:, 0].detach()
    whole = torch.cat([log_p, log_rest], 1), torch.cat([own, torch.where(has_rest, others, 0)], 1)
    return _Pair(*whole, torch.cat([some, has_rest], 1), doubts)


def _divergence(batch: Batch, pair: _Pair) -> tuple[Tensor, Tensor]:  # (R) twice
    """The loss of each row, and the size of the logarithms that are added up for it, by their shares."""
    p, q = pair.log_p.exp() * pair.some, pair.log_q.exp() * pair.some
    kind, beta = batch.options["divergence"], batch.options.get("beta", 0.5)
    if kind == "forward":
        terms = [(1.0, p, pair.log_p - pair.log_q)]
    elif kind == "reverse":
        terms = [(1.0, q, pair.log_q - pair.log_p)]
    else:
        mixture = (beta * p + (1 - beta) * q + ~pair.some).log()
        terms = [(beta, p, pair.log_p - mixture), (1 - beta, q, pair.log_q - mixture)]
    parts = [share * torch.where(of == 0, 0, of) * torch.where(of == 0, 0, log) for share, of, log in terms]
    sizes = sum((part.detach().abs() for part in parts), torch.zeros_like(p))
    return sum(parts, torch.zeros_like(p)).sum(1), sizes.sum(1)


def _likeliest(batch: Batch, y: Tensor) -> Tensor:  # (R)
    classes = batch.options.get("target_classes")
    if classes is None:
        return first_of_largest(y)
    if not y.shape[1]:
        return torch.full((len(y),), NOTHING)
    named = classes.reshape(y.shape).to(torch.int64)
    largest = (y == y.amax(1, keepdim=True)) & (y != -torch.inf)
    first = torch.where(largest, named, torch.iinfo(torch.int64).max).amin(1)
    return torch.where(largest.any(1), first, NOTHING)
