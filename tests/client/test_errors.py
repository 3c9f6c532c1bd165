import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2_grpc
from grpc_status import rpc_status

import losswire_client
from losswire import v1
from losswire_client import (
    AsyncClient,
    Client,
    ConflictError,
    ExactSum,
    ExactSums,
    HeadNotFoundError,
    InternalError,
    InvalidArgumentError,
    LosswireError,
    NotServedError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from losswire_client._errors import invalid_argument
from losswire_client._failures.statuses import ERRORS, from_failure, translated
from losswire_client._retry import PASSING
from losswire_server.errors import OverloadedError as ServerOverloadedError
from losswire_server.errors import to_status, trailers
from losswire_server.rpc.service import LossService
from tests.helpers import serving


class Failed(grpc.RpcError):
    """A failed call, as a stub raises it."""

    def __init__(self, code, details="", metadata=()):
        vars(self).update(code=lambda: code, details=lambda: details, trailing_metadata=lambda: metadata)


def raised_for(error: grpc.RpcError) -> LosswireError:
    with pytest.raises(LosswireError) as raised, translated("host:1", 5):
        raise error
    return raised.value


def test_table_has_every_status_but_ok():
    assert set(ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_status_becomes_the_error_of_the_table(code):
    error = raised_for(Failed(code, "what happened"))
    assert type(error) is ERRORS[code]
    assert error.code is code
    assert str(error)


def test_reset_by_a_proxy_is_no_fault_of_the_server():
    text = "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"
    assert isinstance(raised_for(Failed(grpc.StatusCode.INTERNAL, text)), PASSING)
    assert not isinstance(raised_for(Failed(grpc.StatusCode.INTERNAL, "what happened")), PASSING)


def test_every_error_is_in_the_table():
    errors = {
        value
        for value in vars(losswire_client).values()
        if isinstance(value, type) and issubclass(value, LosswireError)
    }
    assert errors - set(ERRORS.values()) == {HeadNotFoundError, LosswireError, OverloadedError}


def test_tree_in_the_docstring_is_the_tree():
    parents, drawn = [LosswireError], {}
    for branch, name in re.findall(r"^ {4}(.*?[├└]── )(\w+)", losswire_client.__doc__, re.MULTILINE):
        del parents[len(branch) // 4 :]
        drawn[name] = parents[-1]
        parents.append(getattr(losswire_client, name))
    errors = {v for v in vars(losswire_client).values() if isinstance(v, type) and issubclass(v, LosswireError)}
    assert drawn == {error.__name__: error.__bases__[0] for error in errors - {LosswireError}}


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff",
        b"",
        v1.EvaluateResponse(loss_sum=1).SerializeToString(),
        v1.EvaluateResponse(loss=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[2], data=b"123")).SerializeToString(),
    ],
    ids=["no message", "nothing", "no loss", "too few bytes"],
)
@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_answer_off_contract_is_internal(monkeypatch, answer, transport):
    async def evaluate(*_):
        return answer

    async def stream(*_):
        yield answer

    monkeypatch.setattr(LossService, "Evaluate", evaluate)
    monkeypatch.setattr(LossService, "EvaluateStream", stream)
    logits, target = np.zeros((300, 300), np.float32), np.zeros(300, np.int64)
    with serving() as server:
        client = Client(f"127.0.0.1:{server.port}", transport=transport)
        with client, pytest.raises(InternalError):
            client.cross_entropy(logits, target)


def test_unknown_failure_code_is_internal():
    assert type(from_failure(v1.Failure(code=99, message="new"))) is InternalError


def test_async_client_without_a_loop_says_so():
    call = AsyncClient("127.0.0.1:1").ping()
    with pytest.raises(LosswireError, match="needs a running event loop"):
        call.send(None)


@pytest.mark.parametrize("code", [None, grpc.StatusCode.INTERNAL])
def test_errors_go_to_other_processes_whole(code):
    error = invalid_argument("target", "expected another", code)
    error.hint, error.batch = "pass another", 3
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again)) == (InvalidArgumentError, vars(error))
    assert str(again) == str(error) == "batch 3: target: expected another; pass another"


def test_overload_says_when_to_come_back():
    error = ServerOverloadedError("too much is in flight", 250)
    status = to_status(error)
    overloaded = raised_for(Failed(status.code, status.details, trailers(error, status)))
    assert type(overloaded) is OverloadedError
    assert overloaded.retry_seconds == 0.25


def test_contradicting_details_are_ignored():
    error = ServerOverloadedError("too much is in flight", 250)
    metadata = trailers(error, to_status(error))
    assert type(raised_for(Failed(grpc.StatusCode.INTERNAL, "other", metadata))) is InternalError


def status_metadata(code: grpc.StatusCode, *details):
    status = status_pb2.Status(code=code.value[0], message="what happened")
    for detail in details:
        status.details.add().Pack(detail)
    return rpc_status.to_status(status).trailing_metadata


def sums(*losses: float) -> ExactSums:
    return ExactSums(loss=ExactSum.of(losses), weight=ExactSum.of([1.0] * len(losses)), row_count=len(losses))


@pytest.mark.parametrize("in_a_pack", [False, True])
def test_conflict_has_both_sums(in_a_pack):
    key = v1.RunKey(run="val", key="a", slice="web")
    conflict = v1.KeyConflict(run_key=key, counted=sums(0.5, 1.0).to_message(), came=sums(0.25).to_message())
    code = grpc.StatusCode.ALREADY_EXISTS
    metadata = status_metadata(code, conflict)
    error = raised_for(Failed(code, "what happened", metadata))
    if in_a_pack:
        error = from_failure(v1.Failure.FromString(metadata[0][1]))
    assert isinstance(error, ConflictError)
    assert (error.counted, error.came, error.argument) == (sums(0.5, 1.0), sums(0.25), "")
    assert str(error) == (
        "what happened; it counts with loss_sum 1.5, weight_sum 2.0 of 2 rows and 0 ignored in the slice 'web', "
        "and came with loss_sum 0.25, weight_sum 1.0 of 1 rows and 0 ignored"
    )
    assert pickle.loads(pickle.dumps(error)).came == sums(0.25)


def test_conflict_of_sums_that_round_alike_says_so():
    counted, came = sums(1.0, 1e-300), sums(1.0, 2e-300)
    conflict = v1.KeyConflict(counted=counted.to_message(), came=came.to_message())
    code = grpc.StatusCode.ALREADY_EXISTS
    error = raised_for(Failed(code, "what happened", status_metadata(code, conflict)))
    assert str(error).endswith("too, which are rounded from other sums")


def test_conflict_whose_sums_do_not_fit_has_none():
    conflict, code = v1.KeyConflict(run_key=v1.RunKey(run="val", key="a")), grpc.StatusCode.ALREADY_EXISTS
    error = raised_for(Failed(code, "what happened", status_metadata(code, conflict)))
    assert isinstance(error, ConflictError)
    assert (error.counted, error.came, str(error)) == (None, None, "what happened")


@pytest.mark.parametrize("code", [grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION])
def test_difference_to_a_run_names_the_argument(code):
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="spec.cross_entropy.label_smoothing", description="expected 0.0, got 0.1")
    error = raised_for(Failed(code, "what happened", status_metadata(code, request)))
    assert isinstance(error, ConflictError | PreconditionError)
    assert error.argument == "label_smoothing"
    assert str(error) == "label_smoothing: expected 0.0, got 0.1"


def test_precondition_lists_keys():
    failure, code = error_details_pb2.PreconditionFailure(), grpc.StatusCode.FAILED_PRECONDITION
    for kind, key in (("MISSING_KEY", "b"), ("UNEXPECTED_KEY", "x"), ("MISSING_KEY", "a")):
        failure.violations.add(type=kind, subject=key)
    error = raised_for(Failed(code, "what happened", status_metadata(code, failure)))
    assert isinstance(error, PreconditionError)
    assert (error.missing, error.unexpected) == (["b", "a"], ["x"])
    error = pickle.loads(pickle.dumps(error))
    assert (error.missing, error.unexpected) == (["b", "a"], ["x"])


@pytest.mark.parametrize("in_a_pack", [False, True])
@pytest.mark.parametrize("code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND])
def test_missing_head_is_named(code, in_a_pack):
    info = error_details_pb2.ErrorInfo(domain="losswire", reason="HEAD_NOT_FOUND")
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="HEAD_NOT_FOUND", subject="llama")
    metadata = status_metadata(code, info, failure)
    error = raised_for(Failed(code, "what happened", metadata))
    if in_a_pack:
        error = from_failure(v1.Failure.FromString(metadata[0][1]))
    assert isinstance(error, HeadNotFoundError)
    assert (error.head, error.code, str(error)) == ("llama", code, "what happened")
    assert pickle.loads(pickle.dumps(error)).head == "llama"


def test_reasons_of_other_services_are_not_ours():
    code = grpc.StatusCode.FAILED_PRECONDITION
    info = error_details_pb2.ErrorInfo(domain="proxy.example", reason="HEAD_NOT_FOUND")
    assert type(raised_for(Failed(code, "what happened", status_metadata(code, info)))) is PreconditionError


def test_lost_database_is_no_lost_server():
    retry, code = error_details_pb2.RetryInfo(), grpc.StatusCode.UNAVAILABLE
    retry.retry_delay.FromMilliseconds(500)
    error = raised_for(Failed(code, "what happened", status_metadata(code, retry)))
    assert isinstance(error, UnavailableError)
    assert isinstance(error, PASSING)
    assert (str(error), error.retry_seconds) == ("what happened", 0.5)


def test_server_without_losses_is_not_served():
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(NotServedError, match="does not serve losses"):
        client.ping()
    server.stop(None).wait()
