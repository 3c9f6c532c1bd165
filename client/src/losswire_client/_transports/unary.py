"""Evaluations in one message each way."""

import numpy as np

from losswire import v1
from losswire.fields import tensor_in
from losswire.tensors import to_bytes
from losswire_client._errors import ResourceExhaustedError
from losswire_client._request.evaluation import Evaluation
from losswire_client._result import Result
from losswire_client._transports.answers import read_arrays, to_result, understood

MAX_MESSAGE_BYTES = 2**31 - 1  # protobuf's own limit
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES - 2**20  # leaves room for the rest of the request


def whole_request(evaluation: Evaluation) -> v1.EvaluateRequest:
    """The request with all of its elements.

    Raises:
        ResourceExhaustedError: The elements are more than a message holds.
    """
    if evaluation.nbytes > MAX_BATCH_BYTES:
        size = f"{evaluation.nbytes} bytes"
        raise ResourceExhaustedError(f"input and target have {size}, but a message holds at most {MAX_BATCH_BYTES}")
    request = evaluation.new_request()
    with np.errstate(over="ignore"):  # infinity is right if the wire dtype is too narrow
        for name, array in evaluation.arrays.items():
            tensor_in(request, name).data = to_bytes(array.astype(evaluation.wire_dtype_of(name), copy=False))
    return request


def read_whole(response: v1.EvaluateResponse, evaluation: Evaluation) -> Result:
    with understood():
        return to_result(response, read_arrays(response), evaluation)
