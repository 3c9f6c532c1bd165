"""Divergences in float64, as slow and as simple as can be."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


class Truth(NamedTuple):
    """What is true of each row: its divergence, and the log-probabilities of its label in A and in B."""

    losses: Numbers
    reference: Numbers
    candidate: Numbers
    same_top: npt.NDArray[np.bool_]


def log_softmax(logits: Any) -> Numbers:
    """Log-probabilities of logits of shape (..., classes)."""
    x = np.asarray(logits, np.float64)
    shifted = x - x.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def terms(p: Any, q: Any) -> Numbers:
    """p log (p / q) of each class, 0 where p is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p > 0, p * np.log(p / q), 0))


def divergence(a: Any, b: Any, kind: str = "forward", beta: float = 0.5) -> Numbers:
    """Of log-probabilities of shape (rows, classes): how far B is from A."""
    p, q = np.exp(a), np.exp(b)
    if kind == "forward":
        return np.asarray(terms(p, q).sum(1))
    if kind == "reverse":
        return np.asarray(terms(q, p).sum(1))
    m = beta * p + (1 - beta) * q
    return np.asarray(beta * terms(p, m).sum(1) + (1 - beta) * terms(q, m).sum(1))


def truth(a: Any, b: Any, labels: Any = None, temperature: float = 1.0, **kind: Any) -> Truth:
    """Of logits of shape (rows, classes)."""
    log_p, log_q = (log_softmax(np.asarray(each, np.float64) / temperature) for each in (a, b))
    reference, candidate = (
        np.zeros(len(a)) if labels is None else each[np.arange(len(a)), labels] for each in (log_p, log_q)
    )
    return Truth(divergence(log_p, log_q, **kind), reference, candidate, np.argmax(a, 1) == np.argmax(b, 1))


def of_some(log_probabilities: Any, classes: Any, b: Any, tail: str) -> Numbers:
    """The forward divergence from log-probabilities of some classes, of shape (rows, k)."""
    p = np.exp(np.asarray(log_probabilities, np.float64))
    q = np.exp(np.take_along_axis(log_softmax(b), classes, 1))
    if tail == "renormalize":
        p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    elif tail == "one-bin":
        p, q = (np.hstack([each, np.maximum(0, 1 - each.sum(1, keepdims=True))]) for each in (p, q))
    return np.asarray(terms(p, q).sum(1))
