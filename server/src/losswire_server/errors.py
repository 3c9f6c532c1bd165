"""The server's errors, and the one table that translates them into statuses for the caller."""

import logging
from collections.abc import Sequence
from typing import Literal

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.v1 import ErrorReason
from losswire_server.heads.errors import (
    HeadError,
    HeadMismatchError,
    HeadNotFoundError,
    NoSuchHeadError,
)
from losswire_server.runs.errors import (
    KeyConflictError,
    RunError,
    RunExistsError,
    RunFinishedError,
    RunIncompleteError,
    RunMismatchError,
    RunNotFoundError,
    RunQuotaError,
    StoreUnavailableError,
)

DOMAIN = "losswire"
STORE_RETRY_MILLISECONDS = 500
MAX_LISTED_BYTES = 4096  # of keys
VIOLATION_BYTES = 24  # that a listed key takes besides its own
MAX_SUMS_BYTES = 2000  # of two sums, which have 500 unless losses are of all magnitudes
MAX_TEXT = 500  # all metadata of an answer must stay below 8 KiB, and a caller's values may be long

# Limits for which calls are refused: those of all callers, those of one caller, and those of a call.
Limit = Literal[
    "inflight_bytes",
    "queue_rows",
    "shared_memory",
    "caller_bytes",
    "caller_requests",
    "caller_streams",
    "caller_leases",
    "caller_uploads",
    "caller_requests_per_second",
    "caller_bytes_per_second",
]
Refusal = Literal[Limit, "too_large", "too_slow"]

log = logging.getLogger(__name__)


class NotServedError(Exception):
    """The request is right, but this server does not serve what it asks for.

    Attributes:
        field: Path of the field, as in ``spec.loss``, or name of the RPC.
        problem: What is served instead.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class OverloadedError(Exception):
    """Too much is in flight; nothing is wrong with the request.

    Attributes:
        retry_milliseconds: When to try again.
        limit: Which one is reached.
    """

    def __init__(self, problem: str, retry_milliseconds: int, limit: Limit = "inflight_bytes") -> None:
        super().__init__(problem)
        self.retry_milliseconds = retry_milliseconds
        self.limit: Limit = limit


class TooLargeError(Exception):
    """The request asks for more than this server ever gives."""


class TooSlowError(Exception):
    """The caller took longer than this server waits."""


class NotPermittedError(Exception):
    """The request is right, but this caller may not make it."""


class UnauthenticatedError(Exception):
    """Nobody knows who makes the call, and that must be known."""


def to_status(error: Exception) -> grpc.Status:
    """Translates an exception that ends a call."""
    return rpc_status.to_status(to_rpc_status(error))


def to_rpc_status(error: Exception) -> status_pb2.Status:
    """Translates an exception. If it is not in this table, its text stays on the server."""
    match error:
        case FieldError():
            details = _bad_request(error.field, error.problem)
            return _status(code_pb2.INVALID_ARGUMENT, str(error), ErrorReason.ERROR_REASON_INVALID_REQUEST, details)
        case DecodeError():
            return to_rpc_status(
                FieldError("request", "expected a message of the contract, got bytes that are not one")
            )
        case NotServedError():
            details = _bad_request(error.field, error.problem)
            return _status(code_pb2.UNIMPLEMENTED, str(error), ErrorReason.ERROR_REASON_NOT_SERVED, details)
        case ce_engine.InvalidArgumentError():  # of a request that was planned: its device lacks it
            return to_rpc_status(NotServedError(error.argument, error.problem))
        case OverloadedError():
            retry = _retry_info(error.retry_milliseconds)
            return _status(code_pb2.RESOURCE_EXHAUSTED, str(error), ErrorReason.ERROR_REASON_OVERLOADED, retry)
        case TooLargeError():
            return _status(code_pb2.RESOURCE_EXHAUSTED, str(error), ErrorReason.ERROR_REASON_TOO_LARGE)
        case NotPermittedError():
            return _status(code_pb2.PERMISSION_DENIED, str(error), ErrorReason.ERROR_REASON_NOT_PERMITTED)
        case TooSlowError():
            return _status(code_pb2.DEADLINE_EXCEEDED, str(error), ErrorReason.ERROR_REASON_TOO_SLOW)
        case UnauthenticatedError():
            return _status(code_pb2.UNAUTHENTICATED, str(error), ErrorReason.ERROR_REASON_UNAUTHENTICATED)
        case ce_engine.OutOfMemoryError():
            return _status(code_pb2.RESOURCE_EXHAUSTED, str(error), ErrorReason.ERROR_REASON_TOO_LARGE)
        case ce_engine.DeadlineExceededError():
            return _status(code_pb2.DEADLINE_EXCEEDED, str(error), ErrorReason.ERROR_REASON_TOO_LATE)
        case ce_engine.EngineClosedError():
            return _status(code_pb2.UNAVAILABLE, "the server stops", ErrorReason.ERROR_REASON_STOPPING)
        case RunError():
            return _of_run(error)
        case HeadError():
            return _of_head(error)
    text = "internal error; the server's log says more"
    return _status(code_pb2.INTERNAL, text, ErrorReason.ERROR_REASON_INTERNAL)


def _of_run(error: RunError) -> status_pb2.Status:
    text = str(error)
    match error:
        case RunNotFoundError():
            return _status(code_pb2.NOT_FOUND, text, ErrorReason.ERROR_REASON_RUN_NOT_FOUND)
        case RunExistsError():
            details = _bad_request(error.field, error.problem)
            return _status(code_pb2.ALREADY_EXISTS, text, ErrorReason.ERROR_REASON_RUN_EXISTS, details)
        case KeyConflictError():
            return _status(code_pb2.ALREADY_EXISTS, text, ErrorReason.ERROR_REASON_KEY_CONFLICT, _conflict(error))
        case RunIncompleteError():
            details = _preconditions(error)
            return _status(code_pb2.FAILED_PRECONDITION, text, ErrorReason.ERROR_REASON_RUN_INCOMPLETE, details)
        case RunFinishedError():
            return _status(code_pb2.FAILED_PRECONDITION, text, ErrorReason.ERROR_REASON_RUN_FINISHED)
        case RunMismatchError():
            details = _bad_request(error.field, error.problem)
            return _status(code_pb2.FAILED_PRECONDITION, text, ErrorReason.ERROR_REASON_RUN_MISMATCH, details)
        case RunQuotaError():
            return _status(code_pb2.RESOURCE_EXHAUSTED, text, ErrorReason.ERROR_REASON_RUN_QUOTA)
    retry = _retry_info(STORE_RETRY_MILLISECONDS)
    return _status(code_pb2.UNAVAILABLE, text, ErrorReason.ERROR_REASON_STORE_UNAVAILABLE, retry)


def _of_head(error: HeadError) -> status_pb2.Status:
    text = str(error)
    match error:
        case NoSuchHeadError():
            return _status(code_pb2.NOT_FOUND, text, ErrorReason.ERROR_REASON_HEAD_NOT_FOUND)
        case HeadNotFoundError():
            details = error_details_pb2.PreconditionFailure()
            details.violations.add(type="HEAD_NOT_FOUND", subject=_shorten(error.name), description=_shorten(text))
            return _status(code_pb2.FAILED_PRECONDITION, text, ErrorReason.ERROR_REASON_HEAD_NOT_FOUND, details)
        case HeadMismatchError():
            return _status(code_pb2.INVALID_ARGUMENT, text, ErrorReason.ERROR_REASON_HEAD_MISMATCH)
    return _status(code_pb2.RESOURCE_EXHAUSTED, text, ErrorReason.ERROR_REASON_HEAD_QUOTA)


def trailers(error: Exception, status: grpc.Status) -> Sequence[tuple[str, str | bytes]]:
    """The metadata that carries the details, under the names that gRPC's own libraries look for."""
    metadata = tuple(status.trailing_metadata or ())
    if isinstance(error, OverloadedError):
        metadata += (("grpc-retry-pushback-ms", str(error.retry_milliseconds)),)
    if isinstance(error, StoreUnavailableError):
        metadata += (("grpc-retry-pushback-ms", str(STORE_RETRY_MILLISECONDS)),)
    return metadata


def refusal_of(error: Exception | None) -> Refusal | None:
    """The limit for which an error ends a call, if it does so for one."""
    match error:
        case OverloadedError():
            return error.limit
        case TooLargeError():
            return "too_large"
        case TooSlowError():
            return "too_slow"
    return None


def log_failure(error: Exception, code: grpc.StatusCode, method: str) -> None:
    """Logs the server's own faults as errors, a lack of memory as a warning, and callers' faults at level debug."""
    if code is grpc.StatusCode.INTERNAL:
        log.error("internal error", extra={"method": method}, exc_info=error)
    elif isinstance(error, ce_engine.OutOfMemoryError):
        log.warning("out of memory", extra={"method": method, "problem": str(error)})
    else:
        log.debug("call refused", extra={"method": method, "code": code.name, "problem": str(error)})


def _status(code: int, text: str, reason: ErrorReason.ValueType, *details: Message) -> status_pb2.Status:
    name = ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    status = status_pb2.Status(code=code, message=_shorten(text))
    for detail in (error_details_pb2.ErrorInfo(reason=name, domain=DOMAIN), *details):
        status.details.add().Pack(detail)
    return status


def _retry_info(milliseconds: int) -> error_details_pb2.RetryInfo:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(milliseconds)
    return retry


def _conflict(error: KeyConflictError) -> v1.KeyConflict:
    entry, counted = error.entry, error.counted
    key = v1.RunKey(run=entry.run, key=entry.key, slice=counted.slice)
    sums = counted.sums.to_message(), entry.sums.to_message()
    fits = sum(message.ByteSize() for message in sums) <= MAX_SUMS_BYTES
    there, came = sums if fits else (None, None)
    return v1.KeyConflict(run_key=key, counted=there, came=came, came_slice=entry.slice)


def _preconditions(error: RunIncompleteError) -> error_details_pb2.PreconditionFailure:
    """The keys that are at fault, as many as there is room for."""
    failure, room = error_details_pb2.PreconditionFailure(), MAX_LISTED_BYTES
    for kind, keys in ("MISSING_KEY", error.missing), ("UNEXPECTED_KEY", error.unexpected):
        for key in keys:
            room -= len(key.encode()) + VIOLATION_BYTES
            if room < 0:
                return failure
            failure.violations.add(type=kind, subject=key)
    return failure


def _bad_request(field: str, problem: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=_shorten(problem))
    return error_details_pb2.BadRequest(field_violations=[violation])


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
