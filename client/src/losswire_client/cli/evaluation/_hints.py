"""Hints in errors, for people who evaluate their first file."""

from losswire_client._readers import Array, Dataset, FileError
from losswire_client._request.hints import hint_of_classes
from losswire_client.cli._heads import GivenHead

BINARY = "--loss binary_cross_entropy_with_logits, or binary_cross_entropy of probabilities, takes"


def check_shapes(dataset: Dataset, head: GivenHead | None = None) -> None:
    """Checks shapes for mistakes that options would correct.

    Raises:
        FileError: The input has no classes, or they are not in the second dimension; or it is not as wide as the head.
    """
    shape, target = dataset.input_shape, dataset.target_shape
    if len(shape) < 2:
        problem = f"expected an input of shape (rows, classes), got {shape}: {BINARY} one number a row"
        raise FileError(dataset.path, problem)
    if target == shape and dataset.has_class_indices:
        problem = f"expected one class index a row, got targets of the input's shape {shape}: {BINARY} a label each"
        raise FileError(dataset.path, problem)
    if head:
        head.check_width(dataset.path, dataset.input_name, shape[-1])
        return
    first, last = (*shape[:1], *shape[2:]), shape[:-1]
    if target == last != first:
        problem = f"expected targets of shape {first} for an input of shape {shape}, got {target}"
        raise FileError(dataset.path, f"{problem}: --classes-last says that the last dimension is the classes")


def hint_of_targets(target: Array, class_count: int, ignore_index: int) -> str:
    """The hint at the end of the error of class indices that are out of range."""
    hint = hint_of_classes(target, class_count, ignore_index)
    return f"; {with_options(hint)}" if hint else ""


def with_options(hint: str) -> str:
    """A hint of the SDK, with the command's options in place of arguments."""
    return hint.replace("ignore_index=", "--ignore-index ")
