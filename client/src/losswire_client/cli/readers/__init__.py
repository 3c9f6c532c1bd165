"""Files of logits and targets, read row by row."""

from losswire_client.cli.readers._columns import Array, Batch, Column
from losswire_client.cli.readers._dataset import Dataset, FileError, open_dataset

__all__ = ["Array", "Batch", "Column", "Dataset", "FileError", "open_dataset"]
