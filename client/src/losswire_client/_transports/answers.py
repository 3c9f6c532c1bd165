"""From the server's messages to results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
from google.protobuf.message import DecodeError

from losswire import v1
from losswire.exact_sums import ExactSums, by_class_from_messages
from losswire.losses import RESULT_TENSORS
from losswire.tensors import decode
from losswire_client._errors import InternalError, LosswireError
from losswire_client._request.evaluation import BY_CLASS, Evaluation
from losswire_client._result import Result

Arrays = dict[str, npt.NDArray[Any]]  # by the names of their fields in EvaluateResponse

FIELDS = tuple(tensor.field for tensor in RESULT_TENSORS)


@contextmanager
def understood() -> Iterator[None]:
    """Turns the error of a malformed answer into an error of the tree."""
    try:
        yield
    except (DecodeError, KeyError, ValueError) as error:
        if isinstance(error, LosswireError):
            raise
        raise InternalError(f"the server sent an answer that breaks the contract: {error}") from error


def read_arrays(response: v1.EvaluateResponse) -> Arrays:
    """The tensors that a response carries itself."""
    present = ((field, getattr(response, field)) for field in FIELDS if response.HasField(field))
    return {field: decode(tensor, field) for field, tensor in present if _is_here(tensor)}


def to_result(response: v1.EvaluateResponse, arrays: Arrays, evaluation: Evaluation) -> Result:
    """The result of a response and its arrays; the gradient in the dtype of the caller's input."""
    tensors: dict[str, Any] = {tensor.name: arrays.get(tensor.field) for tensor in RESULT_TENSORS}
    grad = tensors["grad"]
    return Result(
        **tensors
        | {"loss": arrays["loss"], "grad": None if grad is None else grad.astype(evaluation.grad_dtype, copy=False)},
        loss_sum=response.loss_sum,
        weight_sum=response.weight_sum,
        row_count=response.row_count,
        ignored_count=response.ignored_count,
        correct_count=response.correct_count if response.HasField("correct_count") else None,
        z_loss_sum=response.z_loss_sum if response.HasField("z_loss_sum") else None,
        **_exact(response, evaluation),
        was_counted=response.was_counted,
    )


def _exact(response: v1.EvaluateResponse, evaluation: Evaluation) -> dict[str, Any]:
    """The exact sums that the caller asked for. Those of many classes take long to read."""
    if not evaluation.exact:
        return {}
    if not response.HasField("exact"):
        raise InternalError("the server sent no exact sums")
    exact = ExactSums.from_message(response.exact)
    if evaluation.exact != BY_CLASS:
        return {"exact": exact}
    return {"exact": exact, "exact_by_class": by_class_from_messages(response.exact_by_class)}


def _is_here(tensor: v1.Tensor) -> bool:
    return tensor.HasField("data") or 0 in tensor.shape
