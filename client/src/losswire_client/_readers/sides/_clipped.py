"""What base files of llama.cpp leave open: the shares of the least likely classes.

Logits that are lower than a row's largest one by more than 16 are raised to that in a base file. As they stand, the
100,000 least likely classes of a large vocabulary would have up to a hundredth of all probability, which is more than
models differ by. What these classes have together is known, since it is what the other classes leave. So they get it in
the proportions that the other model gives them. By that each divergence is the one of the distributions in which all of
them are one class: the most that the file tells, and never more than the divergence of the models themselves.
"""

import numpy as np
import numpy.typing as npt

from losswire_client._readers._columns import Array

LEAST_REST = 1e-6  # what all these classes have together at least: less is beyond the precision of a file's numbers

LogProbabilities = npt.NDArray[np.float32]


def with_rest(values: LogProbabilities, others: Array | None) -> LogProbabilities:
    """Log-probabilities of a base file with numbers for all classes.

    Args:
        values: (rows, classes), -infinity where the file leaves them open.
        others: Logits of the other model for the same rows; None if it leaves classes open itself, which then have
            equal shares.
    """
    is_open = np.isneginf(values)
    counts = is_open.sum(axis=1)
    if not counts.any():
        return values
    even = np.log(_rest(values, counts)) - np.log(np.maximum(1, counts))
    filled = even[:, None] if others is None else _in_proportion(others, is_open, even)
    return np.where(is_open, filled, values).astype(np.float32)


def _rest(values: LogProbabilities, counts: Array) -> npt.NDArray[np.float64]:
    """What the open classes of each row have together. None of them has more than any other class."""
    known = np.exp(values).sum(axis=1, dtype=np.float64)
    least = np.where(np.isneginf(values), np.inf, values).min(axis=1)
    most = np.maximum(LEAST_REST, counts * np.exp(least, dtype=np.float64))
    rest: npt.NDArray[np.float64] = np.clip(1 - known, LEAST_REST, most)
    return rest


def _in_proportion(others: Array, is_open: npt.NDArray[np.bool_], even: Array) -> npt.NDArray[np.float64]:
    """Log-probabilities in the proportions of other logits; equal ones where those have no share."""
    logits = others.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        logits -= np.where(is_open, logits, -np.inf).max(axis=1, keepdims=True)
        share = np.log(np.where(is_open, np.exp(logits), 0).sum(axis=1, keepdims=True))
        counts = np.maximum(1, is_open.sum(axis=1, keepdims=True))
        filled: npt.NDArray[np.float64] = logits - share + even[:, None] + np.log(counts)
    return np.where(np.isfinite(share), filled, even[:, None])
