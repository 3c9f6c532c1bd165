"""Memory of the work on a CPU: intermediate numbers of compiled code and of PyTorch's operators, and copies."""

import torch

from ce_engine._libraries import library
from ce_engine._needs.divergence import divergence_bytes
from ce_engine._needs.form import Form
from ce_engine._needs.head import tiles_bytes
from ce_engine._rows import BLOCK_BYTES

LANE_BYTES = 64  # as in native/vectors/lanes.h
COLUMN_GROUPS, COLUMN_BYTES = 8, 2**18  # as in native/softmax/softmax_columns.h
NETWORK_CLASSES = 64  # as in native/top/top_network.h
STEP_BYTES = 2 * LANE_BYTES
DOUBLES_A_CLASS = 4  # weights of classes, and what label smoothing makes of them
SOFTMAX_BLOCKS = 7  # of PyTorch's operators: in `cpu._softmax` and `cpu._targets`
PLACE_BLOCKS = 4  # in `cpu._places`: a sort, whose indices are int64, or flags
ELEMENT_BLOCKS = 6  # in `cpu._elementwise`
ROW_BYTES = 40  # of factors of rows, and places of ignored ones, that these operators make for each row


def work_bytes(form: Form, *, threads: int) -> int:
    """Bytes beside input, plan and results while a slab is evaluated by so many threads."""
    if not form.input.element_count:
        return 0
    if form.is_divergence:
        return divergence_bytes(form, threads=threads)
    if form.head is not None:
        return _of_classes(form) + tiles_bytes(form, form.head, threads=threads)
    kernels = _operators(form, threads) if library() is None else _compiled(form, threads)
    return _copies(form) + _of_classes(form) + kernels


def _copies(form: Form) -> int:
    """Inputs and targets that cannot be read where they lie."""
    tensors = (form.input,) if form.has_classes else (form.input, form.target)
    return sum(x.nbytes for x in tensors if x.is_neg or (form.is_elementwise and not x.is_contiguous))


def _of_classes(form: Form) -> int:
    has_weights = form.weight is not None and not form.has_classes and not form.is_elementwise
    return 8 * DOUBLES_A_CLASS * form.class_count if form.label_smoothing or has_weights else 0


def _compiled(form: Form, threads: int) -> int:
    known = (form.input.dtype, form.compute_dtype)
    converted = [not form.has_classes and form.target.dtype not in known]
    converted += [form.grad and form.grad_dtype not in (None, *known)]
    return _kept_exponentials(form, threads) + sum(converted) * _block(form, torch.get_num_threads())


def _kept_exponentials(form: Form, threads: int) -> int:
    """Of the rows that threads are at, as in native/softmax/softmax_rows.h and native/softmax/softmax_columns.h."""
    if form.is_elementwise or (form.loss == "nll_loss" and not (form.outputs or form.top_k)):
        return 0
    classes, step = form.class_count, STEP_BYTES // form.compute_bytes
    if classes >= step and (form.positions == 1 or len(form.input.shape) < 3) and form.input.is_contiguous:
        return (classes + step) * form.compute_bytes * min(threads, form.row_count)
    groups = max(1, min(COLUMN_BYTES // (classes * LANE_BYTES), COLUMN_GROUPS))
    rows = groups * LANE_BYTES // form.compute_bytes
    blocks = form.row_count // form.positions * -(-form.positions // rows)
    of_top = 0 if not form.top_k else 2 if classes <= NETWORK_CLASSES else 1
    return (2 + of_top) * rows * classes * form.compute_bytes * min(threads, blocks)


def _operators(form: Form, threads: int) -> int:
    """They work on one block at a time, in one thread and its PyTorch threads."""
    if form.is_elementwise:
        return ELEMENT_BLOCKS * _block(form, threads)
    places = PLACE_BLOCKS if form.top_k or "target_ranks" in form.outputs else 0
    return (SOFTMAX_BLOCKS + places) * _block(form, threads) + ROW_BYTES * form.row_count


def _block(form: Form, threads: int) -> int:
    row = form.class_count * form.compute_bytes
    return max(row, min(form.row_count * row, BLOCK_BYTES * threads))
