"""Memory of the work on hidden states: a tile of logits, and what is made of the tile's hidden states."""

from ce_engine._heads.bfloat16 import ALL_PARTS
from ce_engine._heads.head import Head
from ce_engine._heads.logits import MOST_PARTS, tile_rows
from ce_engine._heads.padding import padded_columns, padded_rows
from ce_engine._libraries import library
from ce_engine._needs.form import Form
from ce_engine._rows import BLOCK_BYTES

STATES, NORMED_STATES = 3, 8  # tensors of a tile's hidden states, in `_heads.logits` and `_heads.norms`
PART_BYTES = 2 * ALL_PARTS  # of a number that is cut into parts for a packed weight
SCALE_BYTES = 16  # of a row's scale, divided by the temperature
STEP_BYTES = 128  # as in native/vectors/lanes.h
COLUMN_BYTES = 4 * 2**18  # of a thread that computes several rows of few classes at a time
SOFTMAX_BLOCKS = 8  # of PyTorch's operators, with the gradient of a block of logits
PLACE_BLOCKS = 8  # of ranks and the largest classes, in `cpu._places`
ROW_BYTES = 40
WAITING_BYTES = 2**12  # objects of Python that wait for each part of a slab


def tiles_bytes(form: Form, head: Head, *, threads: int) -> int:
    """Bytes of the tiles that so many threads evaluate at a time."""
    rows = min(padded_rows(form.row_count), tile_rows(head))
    tiles = min(threads, -(-form.row_count // rows))
    logits = padded_columns(head.class_count) * form.compute_bytes
    states = (STATES if head.norm is None else NORMED_STATES) * padded_columns(head.width) * form.compute_bytes
    widest = max(padded_columns(head.class_count) if form.grad else 0, padded_columns(head.width))
    parts = 0 if head.packed is None else PART_BYTES * widest
    tile = rows * (logits + states + parts + SCALE_BYTES)
    waiting = WAITING_BYTES * min(MOST_PARTS, -(-form.row_count // rows))
    return tiles * tile + _softmax_bytes(form, head, rows, threads) + _copies(form) + waiting


def _softmax_bytes(form: Form, head: Head, rows: int, threads: int) -> int:
    row = head.class_count * form.compute_bytes
    block = max(row, min(rows * row, BLOCK_BYTES * threads))
    has_places = form.top_k > 0 or "target_ranks" in form.outputs
    if library() is None:
        return threads * ((SOFTMAX_BLOCKS + has_places * PLACE_BLOCKS) * block + ROW_BYTES * rows)
    is_converted = not form.has_classes and form.target.dtype is not form.compute_dtype
    return threads * (row + STEP_BYTES + min(COLUMN_BYTES, 4 * rows * row) + is_converted * block)


def _copies(form: Form) -> int:
    """Inputs and targets whose rows do not lie one after the other."""
    tensors = (form.input,) if form.has_classes else (form.input, form.target)
    return sum(x.nbytes for x in tensors if not x.is_contiguous)
