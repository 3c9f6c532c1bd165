"""Memory of results."""

from ce_engine._memory import LEAST_BYTES, rounded
from ce_engine._needs.form import Form

NUMBERS = ("lse", "entropy", "target_log_probabilities")  # of the dtype that is computed in, one a row


def result_bytes(form: Form, *, grad_into: bool) -> int:
    """Bytes of all results together, which last as long as their tensors."""
    grad_bytes = (form.grad_dtype or form.input.dtype).itemsize if form.grad and not grad_into else 0
    of_rows = [form.compute_bytes, *(form.compute_bytes for name in NUMBERS if name in form.outputs)]
    of_rows += [8, 1] if "predictions" in form.outputs else []  # predictions, and whether they are correct
    of_rows += [8] if "target_ranks" in form.outputs else []
    of_rows += [form.compute_bytes] if form.z_loss else []
    of_rows += [form.top_k * form.compute_bytes, form.top_k * 8]
    of_rows += [form.compute_bytes] if form.is_divergence and form.labels is not None else []  # changes
    of_elements = [form.compute_bytes for name in ("probabilities", "log_probabilities") if name in form.outputs]
    grad = _allocated(form.input.element_count * grad_bytes)
    of_classes = sum(_allocated(form.number_count * size) for size in of_elements)
    return sum(_allocated(form.row_count * size) for size in of_rows) + grad + of_classes


def _allocated(nbytes: int) -> int:
    return rounded(nbytes) if nbytes >= LEAST_BYTES else nbytes
