"""Files of logits and targets, read row by row."""

from losswire_client._readers._batches import Batch, PlacedBatch, told_place
from losswire_client._readers._columns import Array, slices
from losswire_client._readers._dataset import Dataset, FileError, Selection
from losswire_client._readers._folders import Source, files_of, sources
from losswire_client._readers._formats import INDEX
from losswire_client._readers._names import Kind, kind_named, listed
from losswire_client._readers._opening import open_dataset

__all__ = [
    "INDEX",
    "Array",
    "Batch",
    "Dataset",
    "FileError",
    "Kind",
    "PlacedBatch",
    "Selection",
    "Source",
    "files_of",
    "kind_named",
    "listed",
    "open_dataset",
    "slices",
    "sources",
    "told_place",
]
