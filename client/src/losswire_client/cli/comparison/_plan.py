"""The plan: what is compared, and how."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from losswire_client._readers import FileError
from losswire_client._readers.sides import Form, Pair, PairChoice, PairRows
from losswire_client.cli._heads import GivenHead

IGNORE_INDEX = -100  # as in PyTorch

Arguments = dict[str, Any]


class Divergence(StrEnum):
    FORWARD = "forward"
    REVERSE = "reverse"
    JENSEN_SHANNON = "jensen-shannon"


class Tail(StrEnum):
    RENORMALIZE = "renormalize"
    ONE_BIN = "one-bin"
    DROP = "drop"


@dataclass(frozen=True)
class Plan:
    """What to do with each pair of files.

    Attributes:
        divergence: Which divergence.
        beta: The reference's share of the mixture of Jensen and Shannon's; None for a half.
        temperature: What logits are divided by.
        tail: What becomes of classes that the reference does not name; None if it names all.
        reference_head: Head of the reference's hidden states; None if it has logits.
        candidate_head: That of the candidate.
        ignore_index: Label of rows that do not count.
        choice: Which arrays and rows are compared.
        batch_rows: Rows of an evaluation; None for a number that suits their size.
        with_reference: Whether the log-probability that the reference gives each label is evaluated too.
        series: Series of the evaluations.
    """

    divergence: Divergence = Divergence.FORWARD
    beta: float | None = None
    temperature: float = 1.0
    tail: Tail | None = None
    reference_head: GivenHead | None = None
    candidate_head: GivenHead | None = None
    ignore_index: int = IGNORE_INDEX
    choice: PairChoice = field(default_factory=PairChoice)
    batch_rows: int | None = None
    with_reference: bool = False
    series: str = ""

    @property
    def options(self) -> Arguments:
        """The options of the loss, which all evaluations have."""
        return {
            "divergence": self.divergence.replace("-", "_"),
            "beta": self.beta,
            "temperature": self.temperature,
            "tail": self.tail and self.tail.replace("-", "_"),
            "head": self.candidate_head and self.candidate_head.argument,
            "target_head": self.reference_head and self.reference_head.argument,
            "ignore_index": self.ignore_index,
        }

    @property
    def has_changes(self) -> bool:
        """Whether the change of a label's log-probability is known, if there are labels."""
        return self.tail is None


def arguments_of(rows: PairRows, plan: Plan) -> Arguments:
    """The arguments of an evaluation that are arrays."""
    candidate, reference = plan.candidate_head, plan.reference_head
    arrays = {
        "input": candidate.fitted(rows.candidate) if candidate else rows.candidate,
        "target": reference.fitted(rows.reference) if reference else rows.reference,
        "target_classes": rows.classes,
        "labels": rows.labels,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def check_heads(pair: Pair, plan: Plan) -> None:
    """Checks that hidden states fit the heads, and that both sides then have the same classes.

    Raises:
        FileError: They do not.
    """
    classes = []
    for side, head in ((pair.reference, plan.reference_head), (pair.candidate, plan.candidate_head)):
        if head:
            head.check_width(side.path, side.name, side.width)
        if side.form is not Form.TOP:
            classes.append((side, head.class_count if head else side.width))
    (first, count), (other, other_count) = classes[0], classes[-1]
    if count != other_count:
        problem = f"{first.name} stands for {count} classes, and {other.name} of {other.path} for {other_count}"
        raise FileError(first.path, problem)


def with_forms(plan: Plan) -> Plan:
    """The plan with what the rows of both sides are, which heads and the tail tell."""
    reference = Form.TOP if plan.tail else _form(has_head=plan.reference_head is not None)
    candidate = _form(has_head=plan.candidate_head is not None)
    sides = replace(plan.choice.reference, form=reference), replace(plan.choice.candidate, form=candidate)
    return replace(plan, choice=replace(plan.choice, reference=sides[0], candidate=sides[1]))


def _form(*, has_head: bool) -> Form:
    return Form.HIDDEN_STATES if has_head else Form.LOGITS
