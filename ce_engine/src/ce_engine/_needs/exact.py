"""Memory of exact sums: next to nothing for all rows together, but by class there are places of rows, and many sums."""

from ce_engine._libraries import library
from ce_engine._needs.form import Form
from ce_engine._rows import BLOCK_BYTES
from ce_engine._sums import by_class, exact_operators

PLACE_BYTES = 8 * 4  # of a row: its class, its place, and both once more while correct ones are counted
SORTED_BYTES = 8 * 4  # of PyTorch's sort
OPERATOR_BYTES = 8 * 32  # of a row of a part, of PyTorch's operators on its numbers
CLASS_BYTES = 8 * 5  # of a class, of the ends and counts of its rows
FOUND_BYTES = 256  # of a class that rows have, of these in lists
PLAIN_BYTES, WEIGHTED_BYTES = 1536, 2560  # of the sums of a class: integers of about 300 bytes, three or five


def exact_work_bytes(form: Form) -> int:
    """Bytes while sums are made, after the kernels' work."""
    if not form.exact:
        return 0
    operators = 0 if library() else OPERATOR_BYTES * min(form.row_count, exact_operators.PART_ROWS)
    return operators + (_by_class(form) if form.exact == "by_class" else 0)


def exact_result_bytes(form: Form) -> int:
    """Bytes of the sums themselves, which are objects of Python."""
    if form.exact != "by_class":
        return 0
    is_weighted = form.weight is not None and form.has_classes
    return _classes(form) * (WEIGHTED_BYTES if is_weighted else PLAIN_BYTES)


def _by_class(form: Form) -> int:
    rows = min(form.row_count, by_class.PART_ROWS)
    places = rows * (PLACE_BYTES if library() else PLACE_BYTES + SORTED_BYTES)
    most_classes = 2 if form.is_elementwise else form.class_count
    of_part = exact_result_bytes(form) if form.row_count > rows else 0  # beside those of parts before
    of_classes = CLASS_BYTES * min(most_classes, form.number_count) + FOUND_BYTES * _classes(form)
    return _rows_classes(form) + places + of_classes + of_part


def _rows_classes(form: Form) -> int:
    """Of targets that are no classes."""
    if form.has_classes:
        return 0
    target = form.target
    is_copied = form.is_elementwise and not target.is_contiguous
    block = max(form.class_count, BLOCK_BYTES // form.compute_bytes) * form.compute_bytes
    of_row = 1 if form.is_elementwise else 8
    return of_row * form.row_count + (target.nbytes if is_copied else 0) + min(2 * target.nbytes, block)


def _classes(form: Form) -> int:
    return min(form.row_count, 2 if form.is_elementwise else form.class_count)
