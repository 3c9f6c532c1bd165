"""Many small requests in one message. No I/O: every kind of client shares it."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, tag, varint
from losswire_client._capabilities import Capabilities
from losswire_client._errors import CallCancelledError, InternalError, LosswireError
from losswire_client._failures.statuses import from_failure

MAX_REQUEST_BYTES = 2**16  # larger requests gain nothing in a pack, and hold up the other requests
MAX_IN_FLIGHT = 2  # messages: while the server works on one, the next is put together
FIELD_BYTES = 6  # at most so many bytes of a message come before each request

TAG = tag(v1.BatchEvaluateRequest.REQUESTS_FIELD_NUMBER, LENGTH_DELIMITED)

Outcome: TypeAlias = v1.EvaluateResponse | LosswireError  # of one request
GIVEN_UP = CallCancelledError("the caller that was to send this request was interrupted")


def is_small(request: v1.EvaluateRequest, data: bytes) -> bool:
    """Whether a request, serialized as these bytes, may travel with others."""
    return len(data) <= MAX_REQUEST_BYTES and not request.input.HasField("shared_memory")


def pack(requests: Sequence[bytes]) -> bytes:
    """A BatchEvaluateRequest of serialized requests. They are joined by hand, since protobuf would parse them first."""
    return b"".join(part for request in requests for part in (TAG, varint(len(request)), request))


def unpack(answer: bytes, count: int) -> list[Outcome]:
    """The outcome of each request.

    Raises:
        InternalError: The answer is no such message, or does not have one result for each request.
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


def fitting(requests: Iterable[tuple[bytes, Capabilities]], max_bytes: int = sys.maxsize) -> int:
    """How many of the first requests go into one message, by the limits that each caller knows: at least one.

    Args:
        requests: Each request with what the server serves, as far as the request's caller knows.
        max_bytes: How large the message may be, even if the server takes larger ones.
    """
    count = nbytes = 0
    max_requests = sys.maxsize
    for count, (request, served) in enumerate(requests):
        nbytes += len(request) + FIELD_BYTES
        max_requests, max_bytes = min(max_requests, served.max_batch_requests), min(max_bytes, served.max_message_bytes)
        if count and (count >= max_requests or nbytes > max_bytes):
            return count
    return count + 1
