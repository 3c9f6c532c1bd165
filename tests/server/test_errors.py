import grpc
import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire.v1 import ErrorReason
from losswire_server.errors import (
    NotPermittedError,
    NotServedError,
    OverloadedError,
    TooLargeError,
    TooSlowError,
    UnauthenticatedError,
    to_status,
    trailers,
)
from losswire_server.heads.errors import HeadMismatchError, HeadNotFoundError, HeadQuotaError, NoSuchHeadError
from losswire_server.runs.errors import (
    KeyConflictError,
    RunExistsError,
    RunFinishedError,
    RunIncompleteError,
    RunMismatchError,
    RunNotFoundError,
    RunQuotaError,
    StoreUnavailableError,
)
from losswire_server.runs.records import Entry, KeyRecord

ENTRY = Entry("val", "a", "", "digest", ExactSums(), None)
COUNTED = KeyRecord("a", "news", ExactSums(), 0.0)

RAISED = [
    (FieldError("spec.reduction", "expected one, got none"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (DecodeError("Wire format was corrupt"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (NotServedError("spec.nll_loss", "not served"), grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
    (ce_engine.InvalidArgumentError("head", "not on a GPU"), grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
    (OverloadedError("too much", 250), grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    (TooLargeError("never fits"), grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
    (TooSlowError("too slow"), grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW"),
    (NotPermittedError("not from there"), grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED"),
    (UnauthenticatedError("who is that"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (ce_engine.DeadlineExceededError("too late"), grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_LATE"),
    (ce_engine.OutOfMemoryError("too little memory"), grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
    (ce_engine.DeviceLostError("gone"), grpc.StatusCode.UNAVAILABLE, "STOPPING"),
    (ce_engine.EngineClosedError("closed"), grpc.StatusCode.UNAVAILABLE, "STOPPING"),
    (HeadNotFoundError("llama"), grpc.StatusCode.FAILED_PRECONDITION, "HEAD_NOT_FOUND"),
    (NoSuchHeadError("llama"), grpc.StatusCode.NOT_FOUND, "HEAD_NOT_FOUND"),
    (HeadQuotaError("no room"), grpc.StatusCode.RESOURCE_EXHAUSTED, "HEAD_QUOTA"),
    (HeadMismatchError("a" * 64, "b" * 64), grpc.StatusCode.INVALID_ARGUMENT, "HEAD_MISMATCH"),
    (RunNotFoundError("val"), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
    (RunExistsError("spec", "expected another"), grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS"),
    (KeyConflictError(ENTRY, COUNTED), grpc.StatusCode.ALREADY_EXISTS, "KEY_CONFLICT"),
    (RunIncompleteError("val", ["a"], 1, ["b"], 1), grpc.StatusCode.FAILED_PRECONDITION, "RUN_INCOMPLETE"),
    (RunFinishedError("val", "a"), grpc.StatusCode.FAILED_PRECONDITION, "RUN_FINISHED"),
    (RunMismatchError("spec", "expected another"), grpc.StatusCode.FAILED_PRECONDITION, "RUN_MISMATCH"),
    (RunQuotaError("too many"), grpc.StatusCode.RESOURCE_EXHAUSTED, "RUN_QUOTA"),
    (StoreUnavailableError("gone"), grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
    (RuntimeError("the secret is 42"), grpc.StatusCode.INTERNAL, "INTERNAL"),
]


def details_of(error: Exception) -> status_pb2.Status:
    metadata = dict(trailers(error, to_status(error)))
    return status_pb2.Status.FromString(metadata["grpc-status-details-bin"])


def unpack(details: status_pb2.Status, kind):
    message = kind()
    assert any(detail.Unpack(message) for detail in details.details)
    return message


@pytest.mark.parametrize(("error", "code", "reason"), RAISED, ids=[type(error).__name__ for error, *_ in RAISED])
def test_error_has_its_code_and_reason(error, code, reason):
    info = unpack(details_of(error), error_details_pb2.ErrorInfo)
    assert to_status(error).code is code
    assert (info.reason, info.domain) == (reason, "losswire")


def test_every_reason_has_an_error():
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert reasons - {"UNSPECIFIED"} == {reason for *_, reason in RAISED}


def test_wrong_field_is_named_in_a_violation():
    (violation,) = unpack(details_of(RAISED[0][0]), error_details_pb2.BadRequest).field_violations
    assert (violation.field, violation.description) == ("spec.reduction", "expected one, got none")


def test_overload_says_when_in_both_ways():
    error = OverloadedError("too much", 250)
    assert unpack(details_of(error), error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 250
    assert ("grpc-retry-pushback-ms", "250") in trailers(error, to_status(error))


def test_missing_head_is_named_as_a_precondition():
    failure = unpack(details_of(HeadNotFoundError("llama")), error_details_pb2.PreconditionFailure)
    assert [(violation.type, violation.subject) for violation in failure.violations] == [("HEAD_NOT_FOUND", "llama")]


def test_unknown_error_leaks_nothing():
    error = RuntimeError("the secret is 42")
    status = to_status(error)
    assert "secret" not in repr((status.code, status.details, trailers(error, status)))


EVERY = ExactSum.of(2.0**power for power in range(-1074, 1024, 8))
WIDE = ExactSums(EVERY, EVERY, EVERY, EVERY, EVERY)  # of losses of all magnitudes
KEY, SLICE = "é" * 256, "ß" * 256  # of as many bytes as they may have


@pytest.mark.parametrize(
    "error",
    [
        FieldError("series", "got " + "ä" * 100_000),
        KeyConflictError(
            Entry("r" * 200, KEY, SLICE, "digest", WIDE, None),
            KeyRecord(KEY, SLICE[1:], WIDE, 0.0),
        ),
        RunIncompleteError("r" * 200, [KEY] * 100, 100, [SLICE] * 100, 100),
    ],
    ids=lambda error: type(error).__name__,
)
def test_long_error_fits_the_metadata(error):
    status = to_status(error)
    percent_encoded = 3 * len(status.details.encode())
    assert percent_encoded + sum(len(value) for _, value in trailers(error, status)) < 8192


def test_conflict_has_both_sums_unless_they_are_too_large():
    for sums, fits in ((ExactSums(ExactSum.of([0.5])), True), (WIDE, False)):
        conflict = unpack(details_of(KeyConflictError(ENTRY._replace(sums=sums), COUNTED)), v1.KeyConflict)
        assert (conflict.HasField("counted"), conflict.HasField("came")) == (fits, fits)
        assert (conflict.run_key.key, conflict.run_key.slice) == ("a", "news")
