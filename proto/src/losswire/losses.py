"""The tables of losses, reductions, weightings and outputs, and of the tensors and numbers of an answer.

Both sides read these tables. A test walks the contract and fails where one of them lacks an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.message import Message

from losswire import v1
from losswire.rows import RowLayout


@dataclass(frozen=True)
class LossKind:
    """A kind of loss.

    Attributes:
        name: Its name in ``LossSpec``, in ``torch.nn.functional``, and as a method of a client.
        wire: Its number in ``losswire.v1.Loss``.
        elementwise: Whether its rows are single elements, each with its own label. Otherwise they are distributions
            over classes.
        classes_last: Whether a row lies along the input's last dimension. Otherwise it lies along the second one, or
            the only one.
        options: Names of the fields of its own message.
    """

    name: str
    wire: v1.Loss.ValueType
    elementwise: bool
    classes_last: bool = False
    options: frozenset[str] = field(init=False)

    def layout(self, shape: tuple[int, ...]) -> RowLayout:
        """How rows lie in an input of this shape."""
        return RowLayout.of(shape, elementwise=self.elementwise, classes_last=self.classes_last)

    def __post_init__(self) -> None:
        message = getattr(v1.LossSpec(), self.name).DESCRIPTOR
        object.__setattr__(self, "options", frozenset(message.fields_by_name))


LOSSES: Mapping[str, LossKind] = {
    kind.name: kind
    for kind in (
        LossKind("cross_entropy", v1.Loss.LOSS_CROSS_ENTROPY, elementwise=False),
        LossKind("nll_loss", v1.Loss.LOSS_NLL_LOSS, elementwise=False),
        LossKind("binary_cross_entropy", v1.Loss.LOSS_BINARY_CROSS_ENTROPY, elementwise=True),
        LossKind("binary_cross_entropy_with_logits", v1.Loss.LOSS_BINARY_CROSS_ENTROPY_WITH_LOGITS, elementwise=True),
        LossKind("linear_cross_entropy", v1.Loss.LOSS_LINEAR_CROSS_ENTROPY, elementwise=False, classes_last=True),
        LossKind("kl_divergence", v1.Loss.LOSS_KL_DIVERGENCE, elementwise=False, classes_last=True),
    )
}

REDUCTIONS: Mapping[str, v1.Reduction.ValueType] = {
    "none": v1.Reduction.REDUCTION_NONE,
    "mean": v1.Reduction.REDUCTION_MEAN,
    "sum": v1.Reduction.REDUCTION_SUM,
}

WEIGHTINGS: Mapping[str, v1.ClassWeighting.ValueType] = {
    "balanced": v1.ClassWeighting.CLASS_WEIGHTING_BALANCED,
    "complement": v1.ClassWeighting.CLASS_WEIGHTING_COMPLEMENT,
}

DIVERGENCES: Mapping[str, v1.Divergence.ValueType] = {
    "forward": v1.Divergence.DIVERGENCE_FORWARD,
    "reverse": v1.Divergence.DIVERGENCE_REVERSE,
    "jensen_shannon": v1.Divergence.DIVERGENCE_JENSEN_SHANNON,
}

TAILS: Mapping[str, v1.Tail.ValueType] = {
    "renormalize": v1.Tail.TAIL_RENORMALIZE,
    "one_bin": v1.Tail.TAIL_ONE_BIN,
    "drop": v1.Tail.TAIL_DROP,
}

HEADS = ("head", "target_head")  # options that name heads: of the input, and of the target

MOST_TOP = 256  # classes of each row that `OutputSpec.top_k` returns

OUTPUTS: Mapping[str, v1.Output.ValueType] = {
    "lse": v1.Output.OUTPUT_LOG_SUM_EXP,
    "probabilities": v1.Output.OUTPUT_PROBABILITIES,
    "log_probabilities": v1.Output.OUTPUT_LOG_PROBABILITIES,
    "predictions": v1.Output.OUTPUT_PREDICTIONS,
    "entropy": v1.Output.OUTPUT_ENTROPY,
    "target_log_probabilities": v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES,
    "target_ranks": v1.Output.OUTPUT_TARGET_RANKS,
}

ResultField = Literal[
    "loss",
    "log_sum_exp",
    "predictions",
    "probabilities",
    "log_probabilities",
    "entropy",
    "target_log_probabilities",
    "target_ranks",
    "top_log_probabilities",
    "top_classes",
    "gradient",
]
Width = Literal["one", "classes", "top", "input"]


@dataclass(frozen=True)
class ResultTensor:
    """A tensor of an answer.

    Attributes:
        name: Its attribute in the results of the engine and of the SDK.
        field: Its field in ``EvaluateResponse`` and ``ResultSlab``.
        width: How many numbers it has for each row: ``one``; one for each of its ``classes``, where the input has its
            elements; one for each of the ``top`` classes, in a last dimension; or those of the ``input``.
        integer: Whether it is int64.
    """

    name: str
    field: ResultField
    width: Width = "one"
    integer: bool = False

    @property
    def wide(self) -> bool:
        """Whether it has the input's shape, but for the number of classes."""
        return self.width in ("classes", "input")


RESULT_TENSORS: tuple[ResultTensor, ...] = (  # in the order in which their elements are sent
    ResultTensor("loss", "loss"),
    ResultTensor("lse", "log_sum_exp"),
    ResultTensor("predictions", "predictions", integer=True),
    ResultTensor("probabilities", "probabilities", "classes"),
    ResultTensor("log_probabilities", "log_probabilities", "classes"),
    ResultTensor("entropy", "entropy"),
    ResultTensor("target_log_probabilities", "target_log_probabilities"),
    ResultTensor("target_ranks", "target_ranks", integer=True),
    ResultTensor("top_log_probabilities", "top_log_probabilities", "top"),
    ResultTensor("top_classes", "top_classes", "top", integer=True),
    ResultTensor("grad", "gradient", "input"),
)
RESULT_NUMBERS = ("loss_sum", "weight_sum", "row_count", "ignored_count", "correct_count", "z_loss_sum")


def loss_of(spec: v1.LossSpec) -> str:
    """The name of a request's loss; empty if none is set."""
    return spec.WhichOneof("loss") or ""


def options_of(spec: v1.LossSpec) -> Any:
    """The message with the options of a request's loss, which must be set."""
    options: Message = getattr(spec, loss_of(spec))
    return options


def heads_of(spec: v1.LossSpec) -> dict[str, str]:
    """The names of the heads that a request needs, by their arguments."""
    options = options_of(spec) if loss_of(spec) else None
    named = {argument: getattr(options, argument, "") for argument in HEADS}
    return {argument: name for argument, name in named.items() if name}


def is_weighted_by_targets(spec: v1.LossSpec) -> bool:
    """Whether class weights are computed from the targets, so that a row's result depends on all of them."""
    loss = loss_of(spec)
    return bool(loss) and "weighting" in LOSSES[loss].options and options_of(spec).HasField("weighting")
