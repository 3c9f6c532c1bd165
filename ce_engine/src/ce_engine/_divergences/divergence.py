from typing import NamedTuple

from ce_engine._heads.head import Head

FORWARD, REVERSE, JENSEN_SHANNON = KINDS = "forward", "reverse", "jensen_shannon"
RENORMALIZE, ONE_BIN, DROP = TAILS = "renormalize", "one_bin", "drop"
HALF = 0.5


class Divergence(NamedTuple):
    """Which divergence of a target's distribution p and the input's distribution q, and how the target gives p.

    Attributes:
        kind: ``forward``, KL(p || q); ``reverse``, KL(q || p); or ``jensen_shannon``, beta KL(p || m) + (1 - beta)
            KL(q || m) with m = beta p + (1 - beta) q.
        beta: The target's share of the mixture.
        temperature: What both logits are divided by.
        tail: What becomes of the classes that a target does not name: ``renormalize``, ``one_bin`` or ``drop``.
        target_head: Makes logits of the target, which is hidden states; None if it is logits.
        named_count: How many classes each row of the target names, whose log-probabilities it has; None if it has
            logits of all classes.
        has_labels: Whether rows have labels.
    """

    kind: str
    beta: float = HALF
    temperature: float = 1.0
    tail: str | None = None
    target_head: Head | None = None
    named_count: int | None = None
    has_labels: bool = False

    @property
    def has_changes(self) -> bool:
        """Whether the log-probabilities of labels are known in both distributions."""
        return self.has_labels and self.named_count is None

    def target_width(self, class_count: int) -> int:
        """Elements of a row of the target."""
        if self.named_count is not None:
            return self.named_count
        return class_count if self.target_head is None else self.target_head.width
