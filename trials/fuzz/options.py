"""What requests of all losses may ask for, and random numbers."""

import math
import random

import numpy as np

from losswire import v1
from losswire.dtypes import BY_NAME
from trials.fuzz.tensors import filled

FLOATS = ("float32", "float32", "float64", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "uint8")
SHARE_OF_OPTIONS = 0.3
MOST_TOP = 7


def set_outputs(
    rng: random.Random, made: v1.EvaluateRequest, own: tuple[int, ...], classes: int | None, *, of_targets: bool
) -> None:
    """Asks for some outputs. Without classes the loss is a binary one."""
    absent = {v1.Output.OUTPUT_LOG_SUM_EXP} if classes is None else set()
    absent |= set() if of_targets else {v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES, v1.Output.OUTPUT_TARGET_RANKS}
    for output in v1.Output.values()[1:]:
        if rng.random() < SHARE_OF_OPTIONS and output not in absent:
            made.outputs.outputs.append(output)
    if classes and rng.random() < SHARE_OF_OPTIONS:
        made.outputs.top_k = rng.randint(1, min(classes, MOST_TOP))
    if made.spec.reduction == v1.Reduction.REDUCTION_MEAN and rng.random() < SHARE_OF_OPTIONS:
        made.spec.divisor = rng.choice((0.5, 3.0, 1000.0))
    if rng.random() < 0.5:
        made.outputs.gradient.SetInParent()
        if rng.random() < SHARE_OF_OPTIONS:
            made.outputs.gradient.dtype = BY_NAME[rng.choice(FLOATS)].wire
        if rng.random() < SHARE_OF_OPTIONS:
            incoming = own if made.spec.reduction == v1.Reduction.REDUCTION_NONE else ()
            filled(made.outputs.gradient.grad_output, rng.choice(FLOATS), incoming, uniform(rng, incoming))


def normal(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([rng.gauss(0, 1) for _ in range(math.prod(shape))], np.float64)


def uniform(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([rng.random() for _ in range(math.prod(shape))], np.float64)
