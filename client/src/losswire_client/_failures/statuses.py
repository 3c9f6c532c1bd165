"""From gRPC's statuses to the errors of the SDK: the one table, and what the details of a status add."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from losswire import v1
from losswire.fields import argument_of
from losswire_client._errors import (
    CallCancelledError,
    ConflictError,
    DeadlineExceededError,
    HeadNotFoundError,
    InternalError,
    InvalidArgumentError,
    LosswireError,
    NotFoundError,
    NotServedError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionError,
    RegionLostError,
    ResourceExhaustedError,
    StreamEndedError,
    UnauthenticatedError,
    UnavailableError,
    invalid_argument,
    late,
)
from losswire_client._failures import details as of_status
from losswire_client._failures.unreachable import reason

ERRORS: dict[grpc.StatusCode, type[LosswireError]] = {
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.ABORTED: UnavailableError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.UNIMPLEMENTED: NotServedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}

RESET = "RST_STREAM"  # of HTTP/2, in gRPC's own words; a server's fault has details, and says nothing of HTTP/2

CODES = {code.value[0]: code for code in grpc.StatusCode}


@contextmanager
def translated(target: str, timeout: float) -> Iterator[None]:
    """Turns the error of a call into one of the tree."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_call(error, target, timeout) from error


def from_call(error: grpc.RpcError, target: str, timeout: float) -> LosswireError:
    """The error of the tree that corresponds to a failed call's error."""
    call = cast(grpc.Call, error)  # a stub's errors are calls too
    code, text, details = call.code(), call.details() or "", of_status.of_call(call)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return late(target, timeout)
    pushback = of_status.retry_seconds(details)
    if (
        code is grpc.StatusCode.UNAVAILABLE and pushback is None
    ):  # else a server answers, and tells what it cannot reach
        text = f"no server can be reached at {target}: {reason(text)}"
    if code is grpc.StatusCode.UNIMPLEMENTED and details is None:  # gRPC's own, in place of a service
        text = f"the server at {target} does not know this call, as if it were older than this client: {text}"
    return _from_status(code, text, details, of_status.trailing_seconds(call) if pushback is None else pushback)


def from_failure(failure: v1.Failure) -> LosswireError:
    """The error for the failure of one of several requests, the same as for a failed call."""
    details = status_pb2.Status.FromString(failure.SerializeToString())  # by the contract the two are wire-compatible
    code = CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
    return _from_status(code, failure.message, details, of_status.retry_seconds(details))


def _from_status(
    code: grpc.StatusCode, text: str, details: status_pb2.Status | None, pushback: float | None
) -> LosswireError:
    if of_status.reason(details) == of_status.HEAD_NOT_FOUND:
        missing = HeadNotFoundError(text, code)
        missing.head = of_status.head(details)
        return missing
    if code is not grpc.StatusCode.UNAVAILABLE and (violation := of_status.violation(details)):
        return _of_argument(code, violation)
    if code is grpc.StatusCode.INTERNAL and details is None and RESET in text:  # as by a proxy whose server is gone
        return StreamEndedError(text, code)
    overloaded = code is grpc.StatusCode.RESOURCE_EXHAUSTED and pushback is not None
    found = OverloadedError(text, code) if overloaded else ERRORS[code](text, code)
    found.retry_seconds = pushback or 0.0
    if isinstance(found, ConflictError):
        found = _of_key(found, details)
    if isinstance(found, PreconditionError):
        found.missing, found.unexpected = of_status.keys(details)
    return found


def _of_argument(code: grpc.StatusCode, violation: error_details_pb2.BadRequest.FieldViolation) -> LosswireError:
    argument, problem = argument_of(violation.field), violation.description
    if violation.field.endswith(".region_id"):
        lost = RegionLostError(f"{argument}: {problem}", code)
        lost.argument = argument
        return lost
    if ERRORS[code] is InvalidArgumentError:
        return invalid_argument(argument, problem, code)
    found = ERRORS[code](f"{argument}: {problem}", code)
    if isinstance(found, ConflictError | PreconditionError):
        found.argument = argument
    return found


def _of_key(error: ConflictError, details: status_pb2.Status | None) -> ConflictError:
    """The error with the sums of a key that counts already, in its text too."""
    conflict = of_status.conflict(details)
    if conflict is None:
        return error
    texts = f"it counts with {conflict.counted_text}, and came with {conflict.came_text}"
    found = ConflictError(f"{error}; {texts}", error.code)
    found.counted, found.came = conflict.counted, conflict.came
    return found
