"""Memory of divergences: labels and named classes, and the work on two distributions."""

from ce_engine._libraries import library
from ce_engine._needs.form import Form
from ce_engine._needs.head import tiles_bytes
from ce_engine._rows import BLOCK_BYTES

LABEL_BYTES = 8 + 1  # of a label as int64, and a flag
NAMED_BYTES = 8  # of a named class as int64
CHECKED_BYTES = 48  # of a named class beside that, while they are sorted and compared
COUNTED_BYTES = 32  # of a named class, as in native/named_classes.h
CONVERTED = 4  # blocks of compiled code: target, gradient, logits that were divided, and what the softmax keeps
OPERATOR_BLOCKS = 24  # of PyTorch's operators in `_divergences.operators`, some of them in float64
TILES = 2  # of gradients: where a softcap is differentiated, they do not take the place of logits


def kept_bytes(form: Form) -> int:
    """Bytes that a slab keeps."""
    return (0 if form.labels is None else LABEL_BYTES * form.row_count) + NAMED_BYTES * _named(form)


def checking_bytes(form: Form) -> int:
    """Bytes beside these while it is planned."""
    return CHECKED_BYTES * _named(form) + (0 if form.target_classes is None else form.target.nbytes)


def divergence_bytes(form: Form, *, threads: int) -> int:
    """Bytes beside input, plan and results while it is evaluated by so many threads."""
    copies = sum(x.nbytes for x in (form.input, form.target) if x.is_neg or not x.is_contiguous)
    row = form.class_count * form.compute_bytes
    block = max(row, min(form.row_count * row, BLOCK_BYTES * threads))
    blocks = CONVERTED if library() else OPERATOR_BLOCKS
    tiles = sum(TILES * tiles_bytes(form, head, threads=threads) for head in (form.head, form.target_head) if head)
    named = threads * (COUNTED_BYTES * form.target.shape[-1] + row) if form.target_classes is not None else 0
    return copies + blocks * block + tiles + named


def _named(form: Form) -> int:
    return 0 if form.target_classes is None else form.target_classes.element_count
