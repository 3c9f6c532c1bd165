"""Pairs of models' logits, and PyTorch's divergences of them."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("forward", "reverse", "jensen_shannon")
TAILS = ("renormalize", "one_bin", "drop")
# One class; less than a step of numbers, exactly one, more; more than a segment of 4096 that is added up at a time.
CLASS_COUNTS = (1, 3, 32, 33, 1000, 4099)


def pair(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits of a student and of a teacher, which are so far apart."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return (3 * x).to(dtype), (3 * x + apart * noise).to(dtype)


def by_torch(
    x: Tensor, y: Tensor, divergence: str = "forward", beta: float | None = None, temperature: float = 1.0
) -> Tensor:
    """The loss of each row: by `kl_div`, and for Jensen and Shannon's by TRL's formula, whose weights are swapped.

    TRL's `GKDTrainer.generalized_jsd_loss` mixes as beta * teacher + (1 - beta) * student.
    """
    student, teacher = ((logits / temperature).log_softmax(-1) for logits in (x, y))
    return of_logarithms(student, teacher, divergence, beta)


def of_logarithms(student: Tensor, teacher: Tensor, divergence: str, beta: float | None = None) -> Tensor:
    """The same of log-probabilities, which need not be those of all classes."""
    if divergence == "forward":
        return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    if divergence == "reverse":
        return F.kl_div(teacher, student, reduction="none", log_target=True).sum(-1)
    share = student.new_tensor(0.5 if beta is None else beta)
    mixture = torch.logsumexp(torch.stack([student + torch.log1p(-share), teacher + share.log()]), 0)
    of_teacher = F.kl_div(mixture, teacher, reduction="none", log_target=True)
    of_student = F.kl_div(mixture, student, reduction="none", log_target=True)
    return (share * of_teacher + (1 - share) * of_student).sum(-1)


def gradient(x: Tensor, y: Tensor, incoming: Tensor | float = 1.0, **options: Any) -> Tensor:
    """Of the sum of the losses, by autograd."""
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((by_torch(leaf, y, **options) * incoming).sum(), leaf)
    return grad


def named(
    y: Tensor,  # (..., C), logits
    count: int,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:  # (..., k), twice
    """Log-probabilities of some classes, and these classes, in no order."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.rand(y.shape, generator=generator).argsort(-1)[..., :count]
    return y.log_softmax(-1).gather(-1, classes), classes


def of_named(
    x: Tensor,  # (..., C), logits
    log_p: Tensor,  # (..., k)
    classes: Tensor,  # (..., k)
    tail: str,
    divergence: str = "forward",
    temperature: float = 1.0,
) -> Tensor:
    """The loss of each row whose target has some classes, by the definitions."""
    if tail == "renormalize":
        return by_torch(x.gather(-1, classes), log_p, divergence, temperature=temperature)
    log_q = x.log_softmax(-1)
    named_q = log_q.gather(-1, classes)
    if tail == "drop":
        return of_logarithms(named_q, log_p, divergence)
    of_q = log_q.scatter(-1, classes, -torch.inf).logsumexp(-1, keepdim=True)
    of_p = (-log_p.exp().sum(-1, keepdim=True)).log1p()
    return of_logarithms(torch.cat([named_q, of_q], -1), torch.cat([log_p, of_p], -1), divergence)
