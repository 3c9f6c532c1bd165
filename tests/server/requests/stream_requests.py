"""Requests that several tests of streams send, and checks of streams that break the contract."""

from typing import Any

import grpc
import numpy as np

from losswire import v1
from tests.server.calls.raw_streams import Batch, RawStream, answers, violation

MEAN, SUM = v1.Reduction.REDUCTION_MEAN, v1.Reduction.REDUCTION_SUM
FLOAT32, INT64 = v1.Dtype.DTYPE_FLOAT32, v1.Dtype.DTYPE_INT64
GRADIENT = v1.OutputSpec(gradient=v1.GradientSpec())
ALL = v1.OutputSpec(
    gradient=v1.GradientSpec(),
    outputs=[
        v1.Output.OUTPUT_LOG_SUM_EXP,
        v1.Output.OUTPUT_PROBABILITIES,
        v1.Output.OUTPUT_PREDICTIONS,
        v1.Output.OUTPUT_ENTROPY,
        v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES,
        v1.Output.OUTPUT_TARGET_RANKS,
    ],
    top_k=2,
)


def classes(rows: tuple[int, ...] = (60,), count: int = 5, **fields: Any) -> Batch:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((rows[0], count, *rows[1:]), np.float32)
    return Batch(logits, rng.integers(0, count, rows), **fields)


def probabilities(shape: tuple[int, ...], **fields: Any) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(rng.standard_normal(shape, np.float32), rng.random(shape), **fields)


def binary(shape: tuple[int, ...], **fields: Any) -> Batch:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal(shape, np.float32), (rng.random(shape) < 0.5).astype(np.float64)
    return Batch(x, target, "binary_cross_entropy_with_logits", **fields)


def divergence(shape: tuple[int, ...] = (60, 5), *, named: int = 0, labelled: bool = False, **fields: Any) -> Batch:
    """Two models' logits of this shape; or of one, and log-probabilities of some classes."""
    rng = np.random.default_rng(0)
    x, target = (
        rng.standard_normal(shape, np.float32),
        rng.standard_normal((*shape[:-1], named or shape[-1]), np.float32),
    )
    if named:
        target = -np.abs(target) - np.log(named).astype(np.float32)
        order = rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)
        fields["target_classes"] = order[..., :named]
    if labelled:
        fields["labels"] = rng.integers(-1, shape[-1], shape[:-1])
        fields["ignore_index"] = -1
    return Batch(x, target, "kl_divergence", divergence=fields.pop("divergence", 1), **fields)


def check_served(channel: grpc.Channel) -> None:
    """Checks that a small batch is answered as it should be."""
    batch = classes(outputs=GRADIENT)
    batch.check(channel, answers(channel, [batch.header(), *batch.slabs(20)]))


def check_refused(
    channel: grpc.Channel,
    messages: list[bytes],
    problem: str,
    code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT,
    *,
    ended: bool = True,
) -> None:
    """Checks that a stream is refused with such a problem; with its last message if only its end shows it."""
    stream = RawStream(channel, timeout=20).send(*messages)
    if ended:
        stream.end()
    error = stream.error()
    assert error.code() is code, error
    assert problem in violation(error), violation(error)
