"""From the server's messages to results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from losswire import v1
from losswire.losses import RESULT_TENSORS
from losswire.tensors import decode
from losswire_client._errors import InternalError, LosswireError
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


def to_result(response: v1.EvaluateResponse, arrays: Arrays, grad_dtype: np.dtype[Any]) -> Result:
    """The result of a response and its arrays; the gradient in the dtype of the caller's input."""
    tensors: dict[str, Any] = {tensor.name: arrays.get(tensor.field) for tensor in RESULT_TENSORS}
    grad = tensors["grad"]
    return Result(
        **tensors | {"loss": arrays["loss"], "grad": None if grad is None else grad.astype(grad_dtype, copy=False)},
        loss_sum=response.loss_sum,
        weight_sum=response.weight_sum,
        row_count=response.row_count,
        ignored_count=response.ignored_count,
        correct_count=response.correct_count if response.HasField("correct_count") else None,
    )


def _is_here(tensor: v1.Tensor) -> bool:
    return tensor.HasField("data") or 0 in tensor.shape
