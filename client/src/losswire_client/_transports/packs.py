"""Many small requests in one message. No I/O: every kind of client shares it."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, tag, varint
from losswire_client._capabilities import Capabilities
from losswire_client._errors import CallCancelledError, InternalError, LosswireError, from_failure

MAX_REQUEST_BYTES = 2**16  # larger ones gain nothing by company, and hold it up
MAX_IN_FLIGHT = 2  # messages: while the server works on one, the next is put together
FIELD_BYTES = 6  # at most, that a message has beside each request

TAG = tag(v1.BatchEvaluateRequest.REQUESTS_FIELD_NUMBER, LENGTH_DELIMITED)

Outcome: TypeAlias = v1.EvaluateResponse | LosswireError  # of one request
GIVEN_UP = CallCancelledError("whoever was to send this has been interrupted")


def is_small(request: v1.EvaluateRequest, data: bytes) -> bool:
    """Whether a request, of these bytes, may travel with others."""
    return len(data) <= MAX_REQUEST_BYTES and not request.input.HasField("shared_memory")


def pack(requests: Sequence[bytes]) -> bytes:
    """A BatchEvaluateRequest of requests in bytes, joined by hand since protobuf would have to parse them first."""
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


def fitting(requests: Iterable[tuple[bytes, Capabilities]], max_bytes: int = sys.maxsize) -> int:
    """How many of the first requests go into one message, by what is known to each of their callers: at least one.

    Args:
        requests: Each with what the server serves, as far as its caller knows: one of them may know better.
        max_bytes: How large the message may be, where the server takes more.
    """
    count = nbytes = 0
    max_requests = sys.maxsize
    for count, (request, served) in enumerate(requests):
        nbytes += len(request) + FIELD_BYTES
        max_requests, max_bytes = min(max_requests, served.max_batch_requests), min(max_bytes, served.max_message_bytes)
        if count and (count >= max_requests or nbytes > max_bytes):
            return count
    return count + 1
