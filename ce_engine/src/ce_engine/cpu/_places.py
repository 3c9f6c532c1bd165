"""Results that tell the places of classes in the descending order of a row's input."""

from torch import Tensor

from ce_engine._kernel_rows import RowResults
from ce_engine._rows import ranks, top_classes


def write_places(
    x: Tensor,  # (rows, C)
    index: Tensor | None,  # (rows), the targets; None if they are distributions
    out: RowResults,  # of these rows
) -> None:
    """Writes ranks and the largest classes. Ignored rows are ranked too: see `hide_ignored`."""
    if out.target_ranks is not None and index is not None:
        out.target_ranks.copy_(ranks(x, index))
    if out.top_classes is not None:
        out.top_classes.copy_(top_classes(x, out.top_classes.shape[1]))


def write_log_probabilities(
    log_p: Tensor,  # (rows, C)
    index: Tensor | None,
    out: RowResults,
) -> None:
    """Writes those of targets, and of the largest classes, which `write_places` has written."""
    if out.target_log_probabilities is not None and index is not None:
        out.target_log_probabilities.copy_(log_p.gather(1, index[:, None])[:, 0])
    if out.top_log_probabilities is not None and out.top_classes is not None:
        out.top_log_probabilities.copy_(log_p.gather(1, out.top_classes))


def hide_ignored(
    out: RowResults,
    ignored: Tensor | None,  # (R)
) -> None:
    """Ignored rows have no correct prediction, and nothing of their target."""
    if ignored is None:
        return
    if out.correct is not None:
        out.correct.logical_and_(~ignored)
    for numbers in (out.target_log_probabilities, out.target_ranks, out.z_losses):
        if numbers is not None:
            numbers.masked_fill_(ignored, 0)
