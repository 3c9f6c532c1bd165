"""What the server does with hidden states, and the same by PyTorch in this process, to compare with."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformer import BATCH_SEQUENCES, Transformer

from losswire_client import Client, Head, HeldHead
from losswire_client.torch import linear_cross_entropy

ADAPTING_RATE = 3e-4
ROWS = 1024  # of which PyTorch has logits in memory at a time, in float64

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """The loss of held-out words, from hidden states at the server and from logits here.

    Attributes:
        loss: By the server.
        perplexity: Its exponential, by the server.
        local_loss: PyTorch's, of all logits at once.
        row_count: How many words were predicted.
        state_bytes: Of the hidden states that travelled.
        logit_bytes: Of the logits that did not.
        held: The head, as the server has it.
    """

    loss: float
    perplexity: float
    local_loss: float
    row_count: int
    state_bytes: int
    logit_bytes: int
    held: HeldHead


@torch.no_grad()
def evaluate(client: Client, model: Transformer, head: Head, sequences: Tensor) -> Evaluation:
    """Registers the head, and evaluates the model on sequences."""
    held = client.register_head(head, alias="example/next-word")
    states, targets = model(sequences[:, :-1]), sequences[:, 1:]
    result = client.linear_cross_entropy(states, head, targets, exact=True, series="held-out")
    logits = model.logits(states).flatten(0, 1)
    local = F.cross_entropy(logits, targets.flatten())
    if result.exact is None:
        raise RuntimeError("the server left out exact sums")
    return Evaluation(
        loss=float(result.loss),
        perplexity=result.exact.statistics.perplexity,
        local_loss=float(local),
        row_count=result.row_count,
        state_bytes=states.nbytes,
        logit_bytes=logits.nbytes,
        held=held,
    )


@dataclass(frozen=True)
class Adaptation:
    """The same steps of training twice: with losses and gradients from the server, and with PyTorch's.

    Attributes:
        remote: The loss of each step, by the server.
        local: The same by PyTorch.
        before: The loss of all sequences before these steps.
        after: The same after them.
        gradient_error: How far the first gradient of hidden states is from PyTorch's, in the 2-norm, as a part of it.
    """

    remote: list[float]
    local: list[float]
    before: float
    after: float
    gradient_error: float


def adapt(client: Client, model: Transformer, head: Head, sequences: Tensor, steps: int) -> Adaptation:
    """Trains copies of the model on sequences. Norm and output layer stay as they are."""

    def remote(states: Tensor, targets: Tensor) -> Tensor:
        return linear_cross_entropy(states, head, targets, client=client)

    def local(states: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model.logits(states).flatten(0, 1), targets.flatten())

    error = _gradient_error(model, sequences[:BATCH_SEQUENCES], remote, local)
    adapted, other = copy.deepcopy(model), copy.deepcopy(model)
    return Adaptation(
        remote=list(_steps(adapted, sequences, steps, remote)),
        local=list(_steps(other, sequences, steps, local)),
        before=_loss(model, sequences, remote),
        after=_loss(adapted, sequences, remote),
        gradient_error=error,
    )


def _steps(model: Transformer, sequences: Tensor, steps: int, loss_of: Loss) -> Iterator[float]:
    optimizer = torch.optim.Adam([*model.trunk.parameters(), *model.embedding.parameters()], ADAPTING_RATE)
    for step in range(steps):
        batch = sequences.roll(-step * BATCH_SEQUENCES, 0)[:BATCH_SEQUENCES]
        loss = loss_of(model(batch[:, :-1]), batch[:, 1:])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def _loss(model: Transformer, sequences: Tensor, loss_of: Loss) -> float:
    return float(loss_of(model(sequences[:, :-1]), sequences[:, 1:]))


def _gradient_error(model: Transformer, batch: Tensor, *losses: Loss) -> float:
    states = model(batch[:, :-1]).detach().requires_grad_()
    remote, local = (torch.autograd.grad(loss(states, batch[:, 1:]), states)[0] for loss in losses)
    return float((remote - local).norm() / local.norm())


@torch.no_grad()
def divergence(model: Transformer, other: Transformer, sequences: Tensor) -> float:
    """The mean of KL(model || other) over all words, by PyTorch in float64."""
    total, words = 0.0, sequences[:, :-1]
    pairs = zip(*(each(words).flatten(0, 1).split(ROWS) for each in (model, other)), strict=True)
    for states, others in pairs:
        p = model.logits(states).double().log_softmax(1)
        q = other.logits(others).double().log_softmax(1)
        total += float(F.kl_div(q, p, reduction="sum", log_target=True))
    return total / words.numel()
