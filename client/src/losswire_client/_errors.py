"""The errors, and the one table from gRPC's statuses to them. The package's docstring draws the tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DetailT = TypeVar("DetailT", bound=Message)


class LosswireError(Exception):
    """Something went wrong, on either side.

    Attributes:
        code: The gRPC status of the call; None if it was not sent.
    """

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.code = code


class InvalidArgumentError(LosswireError, ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``; empty if the server named none.
    """

    argument = ""


class RegionLostError(InvalidArgumentError):
    """The server does not know a region of shared memory any more; the SDK knows what to do."""


class NotServedError(LosswireError):
    """The arguments are right, but this server does not serve what they ask for."""


class DeadlineExceededError(LosswireError, TimeoutError):
    """No answer came in time."""


class UnavailableError(LosswireError, ConnectionError):
    """No server could be reached, or it is shutting down. Evaluations are pure, so a retry is safe."""


class ResourceExhaustedError(LosswireError):
    """The request is larger than the server accepts."""


class OverloadedError(ResourceExhaustedError):
    """Too much is in flight at the server.

    Attributes:
        retry_seconds: When to come back, as the server says.
    """

    retry_seconds = 0.0


class UnauthenticatedError(LosswireError):
    """The server does not know who is calling."""


class PermissionDeniedError(LosswireError):
    """The server knows who is calling, and refuses."""


class CallCancelledError(LosswireError):
    """The call was cancelled on its way."""


class InternalError(LosswireError):
    """A fault of the server's; its log says more."""


ERRORS: dict[grpc.StatusCode, type[LosswireError]] = {
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotServedError,
    grpc.StatusCode.ALREADY_EXISTS: InternalError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: InternalError,
    grpc.StatusCode.ABORTED: UnavailableError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.UNIMPLEMENTED: NotServedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}


def invalid_argument(argument: str, problem: str, code: grpc.StatusCode | None = None) -> InvalidArgumentError:
    """The error of an argument, named as the user wrote it."""
    error = InvalidArgumentError(f"{argument}: {problem}", code)
    error.argument = argument
    return error


@contextmanager
def translated(target: str, timeout: float) -> Iterator[None]:
    """Turns the error of a call into one of the tree."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_call(error, target, timeout) from error


def from_call(error: grpc.RpcError, target: str, timeout: float) -> LosswireError:
    """The error of the tree that a failed call's error stands for."""
    call = cast(grpc.Call, error)  # what a stub raises is both
    code, text = call.code(), call.details() or ""
    details = _details(call)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"no answer from {target} within {timeout:g} seconds"
    elif code is grpc.StatusCode.UNAVAILABLE:
        text = f"no server to be reached at {target}: {text}"
    elif violation := _violation(details):
        argument, problem = argument_of(violation.field), violation.description
        if violation.field.endswith(".region_id"):
            lost = RegionLostError(f"{argument}: {problem}", code)
            lost.argument = argument
            return lost
        if ERRORS[code] is InvalidArgumentError:
            return invalid_argument(argument, problem, code)
        text = f"{argument}: {problem}"
    elif retry := _detail(details, error_details_pb2.RetryInfo()):
        overloaded = OverloadedError(text, code)
        overloaded.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        return overloaded
    return ERRORS[code](text, code)


def argument_of(field: str) -> str:
    """The argument that a field comes from, whose name ends its path, as in spec.cross_entropy.weight, but for some."""
    if field.startswith("outputs.gradient.destination"):
        return "grad"
    name = field.partition(".shared_memory")[0].rpartition(".")[2]
    return "weight" if name == "weighting" else name


def _details(call: grpc.Call) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except (ValueError, DecodeError):  # something between us and the server has changed one but not the other
        return None
    return status


def _violation(details: status_pb2.Status | None) -> error_details_pb2.BadRequest.FieldViolation | None:
    bad_request = _detail(details, error_details_pb2.BadRequest())
    return bad_request.field_violations[0] if bad_request and bad_request.field_violations else None


def _detail(details: status_pb2.Status | None, kind: DetailT) -> DetailT | None:
    found = (detail.Unpack(kind) for detail in details.details) if details else ()
    return kind if any(found) else None
