"""The tables of losses, reductions, weightings and outputs, and of the tensors and numbers of an answer.

Both sides read these tables. A test walks the contract and fails where one of them lacks an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.message import Message

from losswire import v1


@dataclass(frozen=True)
class LossKind:
    """A kind of loss.

    Attributes:
        name: Its name in ``LossSpec``, in ``torch.nn.functional``, and as a method of a client.
        wire: Its number in ``losswire.v1.Loss``.
        elementwise: Whether its rows are single elements, each with its own label. Otherwise they are distributions
            over classes.
        options: Names of the fields of its own message.
    """

    name: str
    wire: v1.Loss.ValueType
    elementwise: bool
    options: frozenset[str] = field(init=False)

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


OUTPUTS: Mapping[str, v1.Output.ValueType] = {
    "lse": v1.Output.OUTPUT_LOG_SUM_EXP,
    "probabilities": v1.Output.OUTPUT_PROBABILITIES,
    "log_probabilities": v1.Output.OUTPUT_LOG_PROBABILITIES,
    "predictions": v1.Output.OUTPUT_PREDICTIONS,
    "entropy": v1.Output.OUTPUT_ENTROPY,
}

ResultField = Literal["loss", "log_sum_exp", "predictions", "probabilities", "log_probabilities", "entropy", "gradient"]


@dataclass(frozen=True)
class ResultTensor:
    """A tensor of an answer.

    Attributes:
        name: Its attribute in the results of the engine and of the SDK.
        field: Its field in ``EvaluateResponse`` and ``ResultSlab``.
        wide: Whether it has the input's shape. Otherwise it has one number per row.
    """

    name: str
    field: ResultField
    wide: bool = False


RESULT_TENSORS: tuple[ResultTensor, ...] = (  # in the order in which their elements are sent
    ResultTensor("loss", "loss"),
    ResultTensor("lse", "log_sum_exp"),
    ResultTensor("predictions", "predictions"),
    ResultTensor("probabilities", "probabilities", wide=True),
    ResultTensor("log_probabilities", "log_probabilities", wide=True),
    ResultTensor("entropy", "entropy"),
    ResultTensor("grad", "gradient", wide=True),
)
RESULT_NUMBERS = ("loss_sum", "weight_sum", "row_count", "ignored_count", "correct_count")


def loss_of(spec: v1.LossSpec) -> str:
    """The name of a request's loss; empty if none is set."""
    return spec.WhichOneof("loss") or ""


def options_of(spec: v1.LossSpec) -> Any:
    """The message with the options of a request's loss, which must be set."""
    options: Message = getattr(spec, loss_of(spec))
    return options


def is_weighted_by_targets(spec: v1.LossSpec) -> bool:
    """Whether class weights are computed from the targets, so that a row's result depends on all of them."""
    loss = loss_of(spec)
    return bool(loss) and "weighting" in LOSSES[loss].options and options_of(spec).HasField("weighting")
