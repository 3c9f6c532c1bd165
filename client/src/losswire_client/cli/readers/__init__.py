"""Files of logits and targets, read row by row."""

from losswire_client.cli.readers._batches import Batch, PlacedBatch, told_place
from losswire_client.cli.readers._columns import Array
from losswire_client.cli.readers._dataset import Dataset, FileError, Selection
from losswire_client.cli.readers._folders import Source, sources
from losswire_client.cli.readers._opening import open_dataset

__all__ = [
    "Array",
    "Batch",
    "Dataset",
    "FileError",
    "PlacedBatch",
    "Selection",
    "Source",
    "open_dataset",
    "sources",
    "told_place",
]
