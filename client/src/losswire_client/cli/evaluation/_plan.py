"""The plan: what to do with each file."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from losswire_client._readers import Array, Kind, Selection
from losswire_client.cli._heads import GivenHead

IGNORE_INDEX = -100  # as in PyTorch
ADDED = ("label_smoothing", "z_loss")  # options by which a loss is more than a negative log-likelihood


class Loss(StrEnum):
    CROSS_ENTROPY = "cross_entropy"
    NLL_LOSS = "nll_loss"
    LINEAR_CROSS_ENTROPY = "linear_cross_entropy"
    BINARY_CROSS_ENTROPY = "binary_cross_entropy"
    BINARY_CROSS_ENTROPY_WITH_LOGITS = "binary_cross_entropy_with_logits"

    @property
    def has_classes(self) -> bool:
        """Whether a row is a distribution over classes. Otherwise it is a number."""
        return self in (Loss.CROSS_ENTROPY, Loss.NLL_LOSS, Loss.LINEAR_CROSS_ENTROPY)


@dataclass(frozen=True)
class Plan:
    """What to do with each file.

    Attributes:
        loss: The loss to evaluate.
        input_kind: Kind of the input; None to go by its name.
        ignore_index: Target of rows that do not count.
        weight: Weights of the classes, of shape (C); ones if None.
        options: Further arguments of the SDK's method for this loss.
        selection: Which arrays and rows of a file to evaluate.
        batch_rows: Rows of an evaluation; None for a number that suits their size.
        per_class: Whether to add up by class.
        histogram: Whether to make a histogram of the rows' losses.
        byte_count: Bytes of the text of all files together.
        bytes_name: Name of the array that says how many bytes of text each row has.
        head: Head of the input's hidden states, if the input is those.
    """

    loss: Loss = Loss.CROSS_ENTROPY
    input_kind: Kind | None = None
    ignore_index: int = IGNORE_INDEX
    weight: Array | None = None
    options: dict[str, Any] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    batch_rows: int | None = None
    per_class: bool = False
    histogram: bool = False
    byte_count: int | None = None
    bytes_name: str | None = None
    head: GivenHead | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the SDK's method apart from input and target."""
        of_classes = {"ignore_index": self.ignore_index, "weight": self.weight} if self.loss.has_classes else {}
        head = {"head": self.head.argument} if self.head else {}
        return {**self.options, **of_classes, **head, "reduction": "none", "outputs": ("predictions",)}

    @property
    def has_perplexity(self) -> bool:
        """Whether the exponential of the loss is a perplexity. It is not if something else is added to the loss."""
        return self.loss.has_classes and self.weight is None and not any(map(self.options.get, ADDED))
