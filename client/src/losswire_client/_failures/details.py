"""Reads the details of a failed call's status."""

import math
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.errors import FieldError
from losswire.exact_sums import ExactSums

DetailT = TypeVar("DetailT", bound=Message)

MISSING, UNEXPECTED = "MISSING_KEY", "UNEXPECTED_KEY"  # types of the violations of a precondition

HEAD_NOT_FOUND = "HEAD_NOT_FOUND"  # the reason, and the violation
DOMAIN = "losswire"


@dataclass(frozen=True)
class Conflict:
    """The sums with which a key counts, and those that came, each also as a text."""

    counted: ExactSums
    counted_text: str
    came: ExactSums
    came_text: str


def of_call(call: grpc.Call) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except (ValueError, DecodeError):  # a proxy has changed the status but not its details
        return None
    return status


def retry_seconds(details: status_pb2.Status | None) -> float | None:
    """Seconds that the caller is to stay away, by the server's google.rpc.RetryInfo."""
    retry = _detail(details, error_details_pb2.RetryInfo())
    return None if retry is None else float(retry.retry_delay.ToTimedelta().total_seconds())


def trailing_seconds(call: grpc.Call) -> float | None:
    """The same by gRPC's trailer, which may also be a proxy's."""
    told = dict(call.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    if told is None:
        return None
    milliseconds = str(told)  # anything but a number from 0 on means never: gRFC A6
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else math.inf


def violation(details: status_pb2.Status | None) -> error_details_pb2.BadRequest.FieldViolation | None:
    bad_request = _detail(details, error_details_pb2.BadRequest())
    return bad_request.field_violations[0] if bad_request and bad_request.field_violations else None


def reason(details: status_pb2.Status | None) -> str:
    """Why the service refused a call: a name of `ErrorReason` without its prefix; empty if something else did."""
    info = _detail(details, error_details_pb2.ErrorInfo())
    return info.reason if info and info.domain == DOMAIN else ""


def head(details: status_pb2.Status | None) -> str:
    """The head that a server lacks."""
    failure = _detail(details, error_details_pb2.PreconditionFailure())
    violations = failure.violations if failure else ()
    return next((one.subject for one in violations if one.type == HEAD_NOT_FOUND), "")


def keys(details: status_pb2.Status | None) -> tuple[list[str], list[str]]:
    """The keys that a run lacks, and those that it should not have."""
    failure = _detail(details, error_details_pb2.PreconditionFailure())
    violations = failure.violations if failure else ()
    missing, unexpected = ([one.subject for one in violations if one.type == kind] for kind in (MISSING, UNEXPECTED))
    return missing, unexpected


def conflict(details: status_pb2.Status | None) -> Conflict | None:
    """The two sums of a key that counts already."""
    found = _detail(details, v1.KeyConflict())
    if found is None or not found.HasField("counted"):  # sums of all magnitudes do not fit
        return None
    try:
        counted, came = ExactSums.from_message(found.counted), ExactSums.from_message(found.came)
    except FieldError:
        return None
    counted_text, came_text = _text(counted, found.run_key.slice), _text(came, found.came_slice)
    if counted_text == came_text:
        came_text = f"{came_text} too, which are rounded from other sums"
    return Conflict(counted, counted_text, came, came_text)


def _text(sums: ExactSums, slice: str) -> str:
    where = f" in the slice {slice!r}" if slice else ""
    rows = f"{sums.row_count} rows and {sums.ignored_count} ignored"
    return f"loss_sum {float(sums.loss)!r}, weight_sum {float(sums.weight)!r} of {rows}{where}"


def _detail(details: status_pb2.Status | None, kind: DetailT) -> DetailT | None:
    found = (detail.Unpack(kind) for detail in details.details) if details else ()
    return kind if any(found) else None
