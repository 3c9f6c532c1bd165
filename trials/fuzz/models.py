"""Requests of losses whose logits heads may make: of hidden states, and of two models."""

import math
import random

import numpy as np

from losswire import v1
from trials.fuzz import heads
from trials.fuzz.options import FLOATS, INTEGERS, SHARE_OF_OPTIONS, normal, set_outputs, uniform
from trials.fuzz.tensors import filled

SCALES = (1.0, 5.0)
MOST_NAMED = 4  # classes of a target


def fill_of_models(rng: random.Random, made: v1.EvaluateRequest, loss: str, shape: tuple[int, ...]) -> None:
    """Fills a request for one of these losses, whose rows are those of a shape with classes last."""
    rows = shape[:-1]
    by_target = _fill_hidden_states(rng, made, rows) if loss == "linear_cross_entropy" else _fill_pair(rng, made, shape)
    if rng.random() < SHARE_OF_OPTIONS:
        filled(made.sample_weight, rng.choice(FLOATS), rows, uniform(rng, rows))
    classes = heads.CLASSES if getattr(made.spec, loss).head else made.input.shape[-1]
    set_outputs(rng, made, rows, classes, of_targets=by_target)


def _fill_hidden_states(rng: random.Random, made: v1.EvaluateRequest, rows: tuple[int, ...]) -> bool:
    """Returns whether targets are class indices."""
    options, dtype = made.spec.linear_cross_entropy, rng.choice(FLOATS)
    options.head = _states(rng, made.input, rows, dtype)
    by_probability = rng.random() < SHARE_OF_OPTIONS
    if by_probability:
        filled(made.target, rng.choice(FLOATS), (*rows, heads.CLASSES), uniform(rng, (*rows, heads.CLASSES)))
    else:
        _fill_classes(rng, made.target, rows, heads.CLASSES)
        options.ignore_index = rng.choice((-100, -1, 0, 1))
    if rng.random() < SHARE_OF_OPTIONS:
        filled(options.weight, rng.choice(FLOATS), (heads.CLASSES,), uniform(rng, (heads.CLASSES,)) + 0.25)
    if rng.random() < SHARE_OF_OPTIONS:
        options.label_smoothing = rng.choice((0.1, 0.5, 1.0))
    if rng.random() < SHARE_OF_OPTIONS:
        options.z_loss = rng.choice((1e-4, 0.25))
    if by_probability:
        options.ClearField("ignore_index")
    elif rng.random() < SHARE_OF_OPTIONS:
        options.weighting = rng.choice(v1.ClassWeighting.values()[1:])
    return not by_probability


def _fill_pair(rng: random.Random, made: v1.EvaluateRequest, shape: tuple[int, ...]) -> bool:
    """Returns whether there are labels."""
    options, rows, dtype, of_head = made.spec.kl_divergence, shape[:-1], rng.choice(FLOATS), False
    options.divergence = rng.choice(v1.Divergence.values()[1:])
    if options.divergence == v1.Divergence.DIVERGENCE_JENSEN_SHANNON and rng.random() < SHARE_OF_OPTIONS:
        options.beta = rng.choice((0.1, 0.9))
    if rng.random() < SHARE_OF_OPTIONS:
        options.head, of_head = _states(rng, made.input, rows, dtype), True
    else:
        shape = (*rows, heads.CLASSES) if rng.random() < SHARE_OF_OPTIONS else shape
        filled(made.input, dtype, shape, normal(rng, shape) * rng.choice(SCALES))
    classes = heads.CLASSES if of_head else shape[-1]
    _fill_other(rng, made, rows, classes, dtype)
    if made.spec.kl_divergence.tail in (v1.Tail.TAIL_UNSPECIFIED, v1.Tail.TAIL_RENORMALIZE):
        options.temperature = rng.choice((0.5, 1.0, 2.0))
    if rng.random() < SHARE_OF_OPTIONS and classes:
        _fill_classes(rng, made.labels, rows, classes)
        options.ignore_index = rng.choice((-100, -1, 0, 1))
    return made.HasField("labels")


def _fill_other(rng: random.Random, made: v1.EvaluateRequest, rows: tuple[int, ...], classes: int, dtype: str) -> None:
    options = made.spec.kl_divergence
    match rng.randrange(3):
        case 0 if classes == heads.CLASSES:
            options.target_head = _states(rng, made.target, rows, dtype)
        case 1 if classes:
            count = rng.randint(1, min(MOST_NAMED, classes))
            _fill_named(rng, made, (*rows, count), classes)
            options.tail = rng.choice(v1.Tail.values()[1:])
        case _:
            shape = (*rows, classes)
            filled(made.target, rng.choice(FLOATS), shape, normal(rng, shape) * rng.choice(SCALES))


def _fill_named(rng: random.Random, made: v1.EvaluateRequest, shape: tuple[int, ...], classes: int) -> None:
    """Log-probabilities of some classes, a few of which have no share and name nothing."""
    log_p = np.log(uniform(rng, shape) / shape[-1] + 1e-3)
    named = np.array([rng.sample(range(classes), shape[-1]) for _ in range(math.prod(shape[:-1]))]).reshape(-1)
    absent = uniform(rng, shape) < SHARE_OF_OPTIONS / 2
    filled(made.target, rng.choice(FLOATS), shape, np.where(absent, -np.inf, log_p))
    filled(made.target_classes, rng.choice(INTEGERS), shape, np.where(absent, 0, named))


def _states(rng: random.Random, tensor: v1.Tensor, rows: tuple[int, ...], dtype: str) -> str:
    """Fills in hidden states. Returns the alias of a head for them."""
    shape = (*rows, heads.WIDTH)
    filled(tensor, dtype, shape, normal(rng, shape) * rng.choice(SCALES))
    return rng.choice(heads.fitting(dtype))


def _fill_classes(rng: random.Random, tensor: v1.Tensor, rows: tuple[int, ...], classes: int) -> None:
    some = np.array([rng.randrange(min(classes, 127)) for _ in range(math.prod(rows))], np.float64)
    filled(tensor, rng.choice(INTEGERS), rows, some)
