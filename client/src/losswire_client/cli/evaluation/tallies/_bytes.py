"""Bytes of the text that the rows of a file stand for."""

import math

from losswire_client._readers import Dataset, FileError
from losswire_client.cli.evaluation._batches import BATCH_BYTES
from losswire_client.cli.evaluation.tallies._sums import LossSums, quotient


def count_bytes(dataset: Dataset, name: str) -> int:
    """The sum of the array that says how many bytes each row has, or each position of a row."""
    total = rows = 0
    for numbers in dataset.numbers(name, "--bytes-name", BATCH_BYTES // 8):
        if numbers.dtype.kind not in "iu" or (numbers < 0).any():
            raise FileError(dataset.path, f"expected counts of bytes in {name}, got {numbers.dtype} or less than 0")
        total, rows = total + int(numbers.sum(dtype="int64")), rows + len(numbers)
    if rows != dataset.file_rows:
        raise FileError(dataset.path, f"{dataset.input_name} has {dataset.file_rows} rows, and {name} has {rows}")
    return total


def bits_per_byte(sums: LossSums, byte_count: int) -> float:
    """The loss in bits per byte, which makes language models with different tokens comparable."""
    return quotient(sums.loss_sum / math.log(2), byte_count)
