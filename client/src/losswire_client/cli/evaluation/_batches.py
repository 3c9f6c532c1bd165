"""Turns the rows of a file into the arguments of evaluations."""

from collections.abc import Iterator

import numpy as np

from losswire_client._readers import Array, Dataset, PlacedBatch
from losswire_client.cli.evaluation._hints import check_shapes
from losswire_client.cli.evaluation._kinds import kind_of, needs_logarithm
from losswire_client.cli.evaluation._plan import Plan

BATCH_BYTES = 2**23  # a few slabs; the batches in flight still take little memory compared with the loaded libraries


def batches(dataset: Dataset, plan: Plan) -> Iterator[PlacedBatch]:
    """All rows as the loss takes them, in batches of the plan's size."""
    rows = plan.batch_rows or max(1, BATCH_BYTES // max(1, dataset.row_bytes))
    with_logarithm = needs_logarithm(plan.loss, kind_of(dataset, plan))
    for batch in dataset.batches(rows):
        yield as_loss_takes(batch, plan, with_logarithm=with_logarithm)


def as_loss_takes(batch: PlacedBatch, plan: Plan, *, with_logarithm: bool) -> PlacedBatch:
    """Rows of a file as the loss takes them."""
    if plan.head:
        return batch._replace(input=plan.head.fitted(batch.input))
    if with_logarithm:
        return batch._replace(input=_logarithm(batch.input))
    if batch.target.dtype.kind in "iub" and not plan.loss.has_classes:
        return batch._replace(target=batch.target.astype(batch.input.dtype))  # binary labels are often integers
    return batch


def class_count(dataset: Dataset, plan: Plan) -> int:
    """How many classes the rows have; 0 for losses without classes."""
    if not plan.loss.has_classes:
        return 0
    check_shapes(dataset, plan.head)
    return plan.head.class_count if plan.head else dataset.input_shape[1]


def _logarithm(probabilities: Array) -> Array:
    """The logarithm in at least float32, the dtype in which the loss is computed too."""
    numbers = probabilities.astype(np.promote_types(probabilities.dtype, np.float32), copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(numbers))
