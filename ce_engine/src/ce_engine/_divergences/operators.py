"""Divergences by PyTorch's operators, on any device: where there is no compiled code, and on GPUs.

With h = q dL/dq of a class, the gradient of each logit is h - q times the sum of all h, divided by the temperature. All
sums are added up in float64.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._divergences.divergence import FORWARD, ONE_BIN, RENORMALIZE, REVERSE, Divergence
from ce_engine._kernel_rows import RowResults, Rows, present


class Evaluated(NamedTuple):
    """Of R rows, in the dtype that is computed in; without weights and ignored rows.

    Attributes:
        losses: (R).
        grad: (R, C); None if it is not wanted.
        changes: (R); None without labels.
    """

    losses: Tensor
    grad: Tensor | None
    changes: Tensor | None


def evaluated(
    form: Divergence,
    x: Tensor,  # (R, C), in the dtype that is computed in
    target: Tensor,  # (R, C) or (R, k), likewise
    rows: Rows,
    *,
    class_count: int,  # C, or less: then x is -infinity beyond it, as is a target of logits
    grad: bool,
) -> Evaluated:
    """Of rows whose target is of either form."""
    if rows.named_classes is not None:
        return of_named(form, x, target, rows.named_classes, class_count=class_count, grad=grad)
    return of_logits(form, x, target, rows.classes, grad=grad)


def deliver(evaluated: Evaluated, rows: Rows, out: RowResults) -> None:
    """Weighs losses and gradients, and leaves ignored rows out."""
    weight = 1 if rows.weight is None else rows.weight
    out.losses.copy_(evaluated.losses * weight)
    columns = [out.losses, out.changes]
    if out.changes is not None and evaluated.changes is not None:
        out.changes.copy_(evaluated.changes)
    if out.grad is not None and evaluated.grad is not None:
        out.grad.copy_(evaluated.grad.mul_((present(rows.scale) * weight)[:, None]))
        columns.append(out.grad.transpose(0, 1))
    if rows.ignored is not None:
        for column in columns:
            if column is not None:
                column.masked_fill_(rows.ignored, 0)


def of_logits(
    form: Divergence,
    x: Tensor,  # (R, C), in the dtype that is computed in
    y: Tensor,  # likewise
    labels: Tensor | None,  # (R)
    *,
    grad: bool,
) -> Evaluated:
    """Of two distributions over the same classes."""
    log_q, log_p = (torch.log_softmax(logits / form.temperature, 1) for logits in (x, y))
    shares, slopes = _shares(form, log_p, log_q)
    losses, changes = row_sums(shares).to(x.dtype), None
    if labels is not None:
        own_q, own_p = (log.gather(1, labels[:, None])[:, 0] for log in (log_q, log_p))
        changes = torch.where(own_q == own_p, 0, own_q - own_p)  # -infinity less itself would be NaN
    if not grad:
        return Evaluated(losses, None, changes)
    slope = row_sums(slopes).to(x.dtype)[:, None]
    return Evaluated(losses, slopes.sub_(log_q.exp_().mul_(slope)).div_(form.temperature), changes)


def of_named(
    form: Divergence,
    x: Tensor,  # (R, C), in the dtype that is computed in
    log_p: Tensor,  # (R, k), likewise
    classes: Tensor,  # (R, k) int64
    *,
    class_count: int,
    grad: bool,
) -> Evaluated:
    """Of a distribution of which some classes are known."""
    has_share = log_p != -math.inf
    at = torch.where(has_share, classes, x.shape[1])  # one more class, of whose numbers nothing is used
    p, log_q = log_p.double(), torch.log_softmax(x, 1)
    if form.tail == RENORMALIZE:
        p, q = (_conditioned(logits.double(), has_share, form) for logits in (log_p, _taken(x, at)))
    else:
        q = _taken(log_q, at).double()
    if form.tail == ONE_BIN:
        p, q = torch.cat([p, _rest(p, has_share.sum(1) == class_count)], 1), torch.cat([q, _rest_of_row(log_q, at)], 1)
    shares, slopes = _shares(form, p, q)
    losses = row_sums(shares).to(x.dtype)
    if not grad:
        return Evaluated(losses, None, None)
    slope = row_sums(slopes)[:, None]
    return Evaluated(losses, _grad_of_named(form, log_q, at, slopes, q.exp(), slope), None)


def row_sums(
    x: Tensor,  # (R, C)
) -> Tensor:  # (R) float64
    # torch splits the sum of a single row over threads, which rounds differently; with a second row it does not.
    rows = x if len(x) > 1 else x.expand(2, -1)
    return rows.sum(1, dtype=torch.float64)[: len(x)]


def _shares(form: Divergence, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """What each class adds to the loss, and h. A term whose probability is 0 is 0, whatever its logarithm."""
    p, q, t = log_p.exp(), log_q.exp(), log_p - log_q
    if form.kind == FORWARD:
        return _term(p, t), p.neg_()
    if form.kind == REVERSE:
        shares = _term(q, -t)
        return shares, shares + q
    of_larger = torch.full_like(t, form.beta).masked_fill_(t < 0, 1 - form.beta)
    log_mixture = t.abs().neg_().exp_().mul_(1 - of_larger).add_(of_larger).log_()
    slopes = _term(q, (-t).clamp_(max=0).sub_(log_mixture)).mul_(1 - form.beta)
    return _term(p, t.clamp_(max=0).sub_(log_mixture)).mul_(form.beta).add_(slopes), slopes


def _term(probability: Tensor, factor: Tensor) -> Tensor:
    return torch.where(probability == 0, 0, probability * factor)


def _conditioned(logits: Tensor, has_share: Tensor, form: Divergence) -> Tensor:
    """Log-probabilities over the named classes. Where q has nothing there, it stays 0 for ``forward`` alone."""
    logits = torch.where(has_share, logits / form.temperature, -math.inf)
    stays = (logits == -math.inf).all(1, keepdim=True) if form.kind == FORWARD else False
    return torch.where(~has_share | stays, -math.inf, torch.log_softmax(logits, 1))


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """The numbers at named classes; -infinity elsewhere."""
    found = x.gather(1, at.clamp(max=x.shape[1] - 1))
    return torch.where(at < x.shape[1], found, -math.inf)


def _rest(log_p: Tensor, names_all: Tensor) -> Tensor:
    """Where all classes are named, what is left of p is a rounding error."""
    rest = (1 - log_p.exp().sum(1, keepdim=True)).clamp_(min=0)
    return rest.masked_fill_(names_all[:, None], 0).log_()


def _rest_of_row(log_q: Tensor, at: Tensor) -> Tensor:
    """The logarithm of what all other classes have together. 1 less what the named have would be rounding errors."""
    others = torch.nn.functional.pad(log_q, (0, 1)).scatter_(1, at, -math.inf)[:, :-1]
    return row_sums(others.exp())[:, None].log_()


def _grad_of_named(form: Divergence, log_q: Tensor, at: Tensor, slopes: Tensor, q: Tensor, slope: Tensor) -> Tensor:
    grad = log_q.new_zeros(len(log_q), log_q.shape[1] + 1)  # with one more class, for entries without a share
    if form.tail != RENORMALIZE:
        of_rest = torch.where(q[:, -1:] == 0, 0, slopes[:, -1:] / q[:, -1:]) if form.tail == ONE_BIN else 0
        torch.mul(log_q.exp(), (of_rest - slope).to(grad.dtype), out=grad[:, :-1])
    named = (slopes - q * slope)[:, : at.shape[1]] / form.temperature
    return grad.scatter_(1, at, named.to(grad.dtype))[:, :-1]
