"""Requests of any size, all of zeros. Imports no PyTorch, so that a process that sends them starts fast."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.losses import OUTPUTS

MIB = 2**20
CLASSES = 1000
MEAN, NONE = v1.Reduction.REDUCTION_MEAN, v1.Reduction.REDUCTION_NONE


def request(rows: int, classes: int = CLASSES, dtype: str = "float32", **fields: Any) -> v1.EvaluateRequest:
    spec = v1.LossSpec(reduction=MEAN, cross_entropy=v1.CrossEntropy())
    tensors = {"input": tensor([rows, classes], dtype), "target": tensor([rows], "int64")}
    return v1.EvaluateRequest(**{"spec": spec, **tensors, **fields})


def opened(rows: int, classes: int = CLASSES, **fields: Any) -> v1.EvaluateRequest:
    """The header of a stream whose input and targets come in slabs."""
    header = request(0, **fields)
    header.spec.reduction = NONE
    header.target.shape[:], header.input.shape[:] = [rows], [rows, classes]
    header.target.ClearField("data")
    header.input.ClearField("data")
    return header


def of_size(mib: float, **fields: Any) -> v1.EvaluateRequest:
    """A request with so many MiB of float32 logits."""
    return request(round(mib * MIB / 4 / CLASSES), **fields)


def tensor(shape: Sequence[int], dtype: str) -> v1.Tensor:
    element = BY_NAME[dtype]
    return v1.Tensor(dtype=element.wire, shape=shape, data=bytes(math.prod(shape) * element.itemsize))


def outputs(*names: str, grad: str | None = None) -> v1.OutputSpec:
    """All of these outputs, and a gradient of that dtype."""
    asked = v1.OutputSpec(outputs=[OUTPUTS[name] for name in names])
    if grad is not None:
        asked.gradient.dtype = BY_NAME[grad].wire
    return asked


ALL_OUTPUTS = tuple(OUTPUTS)


def random_targets(rows: int) -> bytes:
    return np.random.default_rng(0).integers(CLASSES, size=rows).tobytes()
