"""The rows of a file as the arguments of evaluations."""

from collections.abc import Iterator

from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.readers import Dataset, FileError, PlacedBatch

BATCH_BYTES = 2**23  # a few slabs; and those that are in flight are small beside the libraries that are loaded


def batches(dataset: Dataset, plan: Plan) -> Iterator[PlacedBatch]:
    """All rows, so many at a time as the plan says."""
    rows = plan.batch_rows or max(1, BATCH_BYTES // max(1, dataset.row_bytes))
    for batch in dataset.batches(rows):
        if batch.target.dtype.kind in "iub" and not plan.loss.has_classes:
            yield batch._replace(target=batch.target.astype(batch.input.dtype))  # as binary labels are often stored
        else:
            yield batch


def class_count(dataset: Dataset, plan: Plan) -> int:
    """How many classes the rows have; 0 for losses without."""
    if not plan.loss.has_classes:
        return 0
    if len(dataset.input_shape) < 2:
        raise FileError(dataset.path, f"expected an input of shape (rows, classes), got {dataset.input_shape}")
    return dataset.input_shape[1]
