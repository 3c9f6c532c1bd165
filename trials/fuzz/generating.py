"""Random requests that are right: seeds of the corpus, and the material of mutations."""

import math
import random

import numpy as np

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.losses import LOSSES
from losswire.rows import class_count, row_shape
from trials.fuzz.models import fill_of_models
from trials.fuzz.options import FLOATS, INTEGERS, SHARE_OF_OPTIONS, normal, set_outputs, uniform
from trials.fuzz.tensors import filled, numbers_of

SHAPES = (
    (5,),
    (4, 5),
    (4, 1),
    (1, 5),
    (3, 40),
    (4, 5, 3),
    (2, 5, 3, 2),
    (0, 5),
    (2, 5, 0),
    (17, 3),
    (70, 2),
    (3, 0),
    (3, 300),
)


def request(rng: random.Random, *, rows_at_least: int = 0) -> v1.EvaluateRequest:
    """A right request of any loss, shape and options."""
    loss, shape = rng.choice(list(LOSSES)), _shape(rng, rows_at_least)
    made = v1.EvaluateRequest(series=rng.choice(("", "", "train")))
    made.spec.reduction = rng.choice(v1.Reduction.values()[1:])
    made.spec.zero_when_empty = rng.random() < SHARE_OF_OPTIONS
    getattr(made.spec, loss).SetInParent()
    if LOSSES[loss].classes_last:
        fill_of_models(rng, made, loss, shape)
        return made
    dtype = rng.choice(FLOATS)
    scale = rng.choice((1.0, 5.0, 100.0))
    elementwise = LOSSES[loss].elementwise
    numbers = normal if loss != "binary_cross_entropy" else uniform
    filled(made.input, dtype, shape, numbers(rng, shape) * (scale if numbers is normal else 1))
    own = shape if elementwise else row_shape(shape)
    by_probability = elementwise or (loss == "cross_entropy" and rng.random() < SHARE_OF_OPTIONS)
    _fill_target(rng, made, shape, own, by_probability=by_probability)
    _set_loss_options(rng, made, loss, shape, by_probability=by_probability)
    if rng.random() < SHARE_OF_OPTIONS:
        filled(made.sample_weight, rng.choice(FLOATS), own, uniform(rng, own))
    set_outputs(rng, made, own, None if elementwise else class_count(shape), of_targets=not by_probability)
    return made


def alike(rng: random.Random, request: v1.EvaluateRequest) -> v1.EvaluateRequest:
    """The same request with its input's rows in other places, or the same elements again."""
    other = v1.EvaluateRequest()
    other.CopyFrom(request)
    size = BY_NAME["float16"].itemsize if len(request.input.data) % 4 else 4
    words = [request.input.data[at : at + size] for at in range(0, len(request.input.data), size)]
    if size == 4 and request.input.dtype != v1.Dtype.DTYPE_FLOAT64:
        rng.shuffle(words)
    other.input.data = b"".join(words)
    return other


def _shape(rng: random.Random, rows_at_least: int) -> tuple[int, ...]:
    shapes = [shape for shape in SHAPES if math.prod(shape) and math.prod(row_shape(shape)) >= rows_at_least]
    return rng.choice(shapes if rows_at_least else SHAPES)


def _fill_target(
    rng: random.Random,
    made: v1.EvaluateRequest,
    shape: tuple[int, ...],
    own: tuple[int, ...],
    *,
    by_probability: bool,
) -> None:
    if by_probability:
        numbers = uniform(rng, shape)
        filled(made.target, rng.choice(FLOATS), shape, numbers.round() if rng.random() < SHARE_OF_OPTIONS else numbers)
        return
    classes = class_count(shape)
    some = np.array([rng.randrange(classes) if classes else -100 for _ in range(math.prod(own))], np.float64)
    dtype = rng.choice(INTEGERS)
    if len(some) and dtype != "uint8" and rng.random() < SHARE_OF_OPTIONS:
        some[rng.randrange(len(some))] = -100
    filled(made.target, "int64" if not classes else dtype, own, some)


def _set_loss_options(
    rng: random.Random, made: v1.EvaluateRequest, loss: str, shape: tuple[int, ...], *, by_probability: bool
) -> None:
    options, known = getattr(made.spec, loss), LOSSES[loss].options
    weighted = shape[-1:] if LOSSES[loss].elementwise else (class_count(shape),)
    for name in ("weight", "pos_weight"):
        if name in known and rng.random() < SHARE_OF_OPTIONS:
            filled(getattr(options, name), rng.choice(FLOATS), weighted, uniform(rng, weighted) + 0.25)
    if "label_smoothing" in known and rng.random() < SHARE_OF_OPTIONS:
        options.label_smoothing = rng.choice((0.1, 0.5, 1.0))
    if "z_loss" in known and rng.random() < SHARE_OF_OPTIONS:
        options.z_loss = rng.choice((1e-4, 0.25))
    whole = by_probability and set(numbers_of(made.target)) <= {0.0, 1.0}
    if "ignore_index" in known and not by_probability and -100 not in numbers_of(made.target):
        options.ignore_index = rng.choice((-100, -1, 0, 1))
    if rng.random() < SHARE_OF_OPTIONS and (not by_probability or (whole and LOSSES[loss].elementwise)):
        options.weighting = rng.choice(v1.ClassWeighting.values()[1:])
