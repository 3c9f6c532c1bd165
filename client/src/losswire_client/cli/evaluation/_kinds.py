"""The kind of a file's input, and the loss that takes it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from losswire_client._readers import Dataset, FileError, Kind, Source, kind_named, open_dataset
from losswire_client.cli._failures import CommandError, ExitCode
from losswire_client.cli._heads import GivenHead
from losswire_client.cli.evaluation._plan import Loss, Plan

# The softmax of log-probabilities gives the probabilities back, so cross_entropy takes these too.
TAKES: dict[Loss, tuple[Kind, ...]] = {
    Loss.CROSS_ENTROPY: (Kind.LOGITS, Kind.LOG_PROBABILITIES),
    Loss.LINEAR_CROSS_ENTROPY: (),
    Loss.NLL_LOSS: (Kind.LOG_PROBABILITIES,),
    Loss.BINARY_CROSS_ENTROPY: (Kind.PROBABILITIES,),
    Loss.BINARY_CROSS_ENTROPY_WITH_LOGITS: (Kind.LOGITS,),
}


def with_loss(plan: Plan, files: Sequence[Source]) -> Plan:
    """The plan with the loss that takes the input of the first file that can be opened.

    Raises:
        CommandError: By its name the input holds probabilities, and more than one loss may be meant.
    """
    if plan.head:
        return replace(plan, loss=Loss.LINEAR_CROSS_ENTROPY)
    for file in files:
        try:
            with closing(open_dataset(file, plan.selection)) as dataset:
                return replace(plan, loss=_loss_of(dataset, plan))
        except FileError:
            continue  # its error is reported when its turn comes
    return plan


def with_head(plan: Plan, head: GivenHead | None) -> Plan:
    """The plan for hidden states, whose dimension is the last one, if there is a head."""
    if head is None:
        return plan
    return replace(plan, head=head, selection=replace(plan.selection, classes_last=True, hidden=True))


def takes(loss: Loss, kind: Kind) -> bool:
    """Whether a loss can be evaluated for an input of that kind."""
    return kind in TAKES[loss] or needs_logarithm(loss, kind)


def needs_logarithm(loss: Loss, kind: Kind | None) -> bool:
    """Whether the loss takes the logarithm of the input."""
    return kind is Kind.PROBABILITIES and loss in (Loss.CROSS_ENTROPY, Loss.NLL_LOSS)


def kind_of(dataset: Dataset, plan: Plan) -> Kind | None:
    """The kind of the input; None if neither an option nor its name says it.

    Raises:
        FileError: By its name the input is of a kind that the requested loss does not take.
    """
    kind = plan.input_kind or kind_named(dataset.input_name)
    if kind is None or kind is plan.input_kind or kind in TAKES[plan.loss]:
        return kind
    if plan.head:
        problem = f"expected hidden states for a head, got {kind} by the name of {dataset.input_name}"
        raise FileError(dataset.path, f"{problem}: leave out --head, or choose with --input-name")
    raise FileError(dataset.path, _contradiction(dataset.input_name, kind, plan.loss))


def _loss_of(dataset: Dataset, plan: Plan) -> Loss:
    kind = plan.input_kind or kind_named(dataset.input_name)
    if kind is Kind.PROBABILITIES and _has_labels(dataset):
        return Loss.BINARY_CROSS_ENTROPY
    if kind is Kind.PROBABILITIES and not plan.input_kind:
        raise CommandError(f"{dataset.path}: {_choice(dataset.input_name)}", ExitCode.USAGE)
    needs_softmax = plan.options.get("label_smoothing") or not dataset.has_class_indices
    is_logits = kind is None or kind is Kind.LOGITS
    return Loss.CROSS_ENTROPY if is_logits or needs_softmax else Loss.NLL_LOSS


def _has_labels(dataset: Dataset) -> bool:
    """Whether each number has its own label, as for binary losses."""
    has_like_targets = dataset.target_shape == dataset.input_shape
    return has_like_targets and (dataset.has_class_indices or len(dataset.input_shape) == 1)


def _choice(name: str) -> str:
    return (
        f"{name} holds probabilities by its name, not logits: --input-kind probabilities evaluates their logarithms, "
        f"--loss binary_cross_entropy takes those of a label each, --input-kind logits takes {name} as logits"
    )


def _contradiction(name: str, kind: Kind, loss: Loss) -> str:
    words = f"expected {' or '.join(TAKES[loss])} for {loss}, got {kind} by the name of {name}"
    if needs_logarithm(loss, kind):
        return f"{words}: --input-kind probabilities evaluates their logarithms, --input-kind {TAKES[loss][0]} {name}"
    others = " or ".join(f"--loss {other}" for other, kinds in TAKES.items() if kind in kinds)
    return f"{words}: choose {others}, or --input-kind {TAKES[loss][0]} if it holds those"
