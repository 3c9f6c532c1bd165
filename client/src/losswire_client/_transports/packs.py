"""Many small requests in one message. No I/O: every kind of client shares it."""

from collections.abc import Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, tag, varint
from losswire_client._errors import CallCancelledError, InternalError, LosswireError, from_failure

MAX_REQUEST_BYTES = 2**16  # larger ones gain nothing by company, and hold it up
MAX_PACK_BYTES = 2**20
MAX_IN_FLIGHT = 2  # messages: while the server works on one, the next is put together

TAG = tag(v1.BatchEvaluateRequest.REQUESTS_FIELD_NUMBER, LENGTH_DELIMITED)

Outcome: TypeAlias = v1.EvaluateResponse | LosswireError  # of one request
GIVEN_UP = CallCancelledError("whoever was to send this has been interrupted")


def is_small(request: v1.EvaluateRequest, data: bytes) -> bool:
    """Whether a request, whose bytes are these, is one for company."""
    return len(data) <= MAX_REQUEST_BYTES and not request.input.HasField("shared_memory")


def pack(requests: Sequence[bytes]) -> bytes:
    """A BatchEvaluateRequest of requests that are bytes already, which protobuf would have to parse first."""
    return b"".join(part for request in requests for part in (TAG, varint(len(request)), request))


def unpack(answer: bytes, count: int) -> list[Outcome]:
    """What came of each request.

    Raises:
        InternalError: It is no message, or not one result for each request.
    """
    try:
        results = v1.BatchEvaluateResponse.FromString(answer).results
    except DecodeError as error:
        raise InternalError("the server sent no BatchEvaluateResponse") from error
    if len(results) != count:
        raise InternalError(f"the server sent {len(results)} results of {count} requests")
    return [
        result.response if result.WhichOneof("result") == "response" else from_failure(result.failure)
        for result in results
    ]


def share(requests: Sequence[bytes], max_requests: int) -> int:
    """How many of those that wait go into the next message: at least one."""
    nbytes = 0
    for number, request in enumerate(requests):
        nbytes += len(request)
        if number == max_requests or (number and nbytes > MAX_PACK_BYTES):
            return number
    return len(requests)
