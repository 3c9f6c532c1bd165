"""What to say beside an error, where people stand that evaluate their first file."""

from losswire_client._request.hints import hint_of_classes
from losswire_client.cli.readers import Array, Dataset, FileError

BINARY = "--loss binary_cross_entropy_with_logits, or binary_cross_entropy of probabilities, takes"


def check_shapes(dataset: Dataset) -> None:
    """Checks what options would put right.

    Raises:
        FileError: The input has no classes, or they are in another dimension than the second.
    """
    shape, target = dataset.input_shape, dataset.target_shape
    if len(shape) < 2:
        problem = f"expected an input of shape (rows, classes), got {shape}: {BINARY} one number a row"
        raise FileError(dataset.path, problem)
    if target == shape and dataset.has_class_indices:
        problem = f"expected one class index a row, got targets of the input's shape {shape}: {BINARY} a label each"
        raise FileError(dataset.path, problem)
    first, last = (*shape[:1], *shape[2:]), shape[:-1]
    if target == last != first:
        problem = f"expected targets of shape {first} for an input of shape {shape}, got {target}"
        raise FileError(dataset.path, f"{problem}: --classes-last says that the last dimension is the classes")


def hint_of_targets(target: Array, class_count: int, ignore_index: int) -> str:
    """What ends the error of class indices that are out of range."""
    hint = hint_of_classes(target, class_count, ignore_index)
    return f"; {with_options(hint)}" if hint else ""


def with_options(hint: str) -> str:
    """A hint of the SDK's in the words of the command."""
    return hint.replace("ignore_index=", "--ignore-index ")
