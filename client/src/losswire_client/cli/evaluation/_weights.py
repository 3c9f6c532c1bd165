"""Weights of classes. They must be the same for all batches and files."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from losswire_client._readers import Dataset, FileError, Source, open_dataset
from losswire_client.cli._failures import CommandError, ExitCode
from losswire_client.cli.evaluation._batches import BATCH_BYTES, class_count
from losswire_client.cli.evaluation._hints import hint_of_targets
from losswire_client.cli.evaluation._plan import Plan

Weight = npt.NDArray[np.float64]


def class_weight(weight: str, files: Sequence[Source], plan: Plan) -> Weight:  # (C)
    """The weights in a file of that name, or the weights that the server would compute for all targets as one batch."""
    if weight not in ("balanced", "complement"):
        return read_weight(Path(weight))
    counts = count_classes(files, plan)
    complement: Weight = 1 - counts / max(1, counts.sum())
    balanced: Weight = np.divide(counts.mean(), counts, out=np.zeros(len(counts)), where=counts > 0)
    return complement if weight == "complement" else balanced


def read_weight(path: Path) -> Weight:  # (C)
    """The weights in a ``.npy`` file, or else in a text file with a number for each class."""
    try:
        weight = np.load(path) if path.suffix == ".npy" else np.loadtxt(path)
        return np.asarray(weight, np.float64).reshape(-1)
    except OSError as error:  # which names the file
        raise CommandError(f"--weight: {error}", ExitCode.USAGE) from error
    except (ValueError, EOFError) as error:
        raise CommandError(f"--weight: {path}: {error}", ExitCode.USAGE) from error


def count_classes(files: Sequence[Source], plan: Plan) -> Weight:  # (C)
    """How many rows of all files have each class, without ignored rows."""
    total = np.zeros(0)
    for file in files:
        with closing(open_dataset(file, plan.selection)) as dataset:
            counts = _count(dataset, class_count(dataset, plan), plan.ignore_index)
        if total.size and len(counts) != len(total):
            raise FileError(file.path, f"has {len(counts)} classes, and others have {len(total)}")
        total = total + counts if total.size else counts
    return total


def _count(dataset: Dataset, class_count: int, ignore_index: int) -> Weight:
    if not dataset.has_class_indices:
        raise FileError(dataset.path, "weights can be computed from class indices only")
    counts = np.zeros(class_count)
    for target in dataset.targets(BATCH_BYTES):
        classes = target[target != ignore_index].astype(np.int64)
        if classes.size and not 0 <= classes.min() <= classes.max() < class_count:
            problem = f"expected classes in [0, {class_count}) or ignore_index {ignore_index}"
            raise FileError(dataset.path, f"{problem}{hint_of_targets(target, class_count, ignore_index)}")
        counts += np.bincount(classes, minlength=class_count)
    return counts
