"""Evaluations with keys over every transport, as a caller in any language sends them."""

import threading
from itertools import count

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.exact_sums import ExactSums
from losswire.frames import REQUESTS
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import serving
from tests.server.calls.runs.keyed import CLASSES, create, keyed, plain_spec, totals

NUMBERS = count()


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    with (
        serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db")) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.port}") as connected,
    ):
        yield connected


@pytest.fixture
def losses(channel):
    return loss_service_pb2_grpc.LossServiceStub(channel)


@pytest.fixture
def runs(channel):
    return run_service_pb2_grpc.RunServiceStub(channel)


@pytest.fixture
def run(runs):
    """The name of a new run."""
    name = f"run-{next(NUMBERS)}"
    create(runs, name)
    return name


def refused(call, *arguments):
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments)
    return raised.value


def reason(error):
    return detail(error, error_details_pb2.ErrorInfo()).reason


def detail(error, kind):
    assert any(found.Unpack(kind) for found in rpc_status.from_call(error).details)
    return kind


def unary(losses, request):
    return losses.Evaluate(request)


def pack(losses, request):
    others = [v1.EvaluateRequest() for _ in range(2)]  # wrong ones, which harm nobody
    results = losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=[others[0], request, others[1]])).results
    return results[1].response


def stream(losses, request):
    return summary(losses, request, rows=3)


def header_alone(losses, request):
    """A stream whose header has everything."""
    return list(losses.EvaluateStream(iter([v1.EvaluateStreamRequest(header=request)])))[-1].summary


def summary(losses, request, rows):
    data, size = request.input.data, CLASSES * 4
    header = v1.EvaluateRequest()
    header.CopyFrom(request)
    header.input.ClearField("data")
    starts = range(0, len(data) // size, rows)
    slabs = [(start, min(rows, len(data) // size - start)) for start in starts]
    frames = [REQUESTS.write(at, n, {"input": memoryview(data)[at * size : (at + n) * size]}) for at, n in slabs]
    first = v1.EvaluateStreamRequest(header=header)
    return list(losses.EvaluateStream(iter([first, *map(v1.EvaluateStreamRequest.FromString, frames)])))[-1].summary


WAYS = {"unary": unary, "pack": pack, "stream": stream, "header_alone": header_alone}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_key_counts_once(losses, runs, run, way):
    first, again = way(losses, keyed(run, "a")), way(losses, keyed(run, "a"))
    assert (first.was_counted, again.was_counted) == (False, True)
    assert first.exact == again.exact
    assert totals(runs, run) == ExactSums.from_message(first.exact)


def test_ways_give_the_same_sums(losses, run):
    answers = [way(losses, keyed(run, "a")) for way in WAYS.values()]
    assert [answer.was_counted for answer in answers] == [False, True, True, True]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_sums_by_class_come_with_the_totals(losses, runs, way):
    name = f"run-{next(NUMBERS)}"
    create(runs, name, by_class=True)
    answer = way(losses, keyed(name, "a", slice="news", exact=v1.ExactSpec(by_class=True)))
    run = runs.GetRun(v1.GetRunRequest(name=name)).run
    assert [(of.class_index, of.totals.sums) for of in run.classes] == [
        (of.class_index, of.sums) for of in answer.exact_by_class
    ]
    assert sum(of.totals.sums.row_count for of in run.classes) == run.totals.sums.row_count == 8
    assert [(of.slice, of.totals.sums, of.totals.key_count) for of in run.slices] == [("news", answer.exact, 1)]
    alone = runs.GetRun(v1.GetRunRequest(name=name, totals_only=True)).run
    assert (alone.totals, list(alone.slices), list(alone.classes)) == (run.totals, [], [])


def test_sums_come_only_where_asked_for(losses, run):
    answer = losses.Evaluate(keyed(run, "a", exact=None))
    assert not answer.HasField("exact")
    assert not answer.exact_by_class


def test_exact_sums_need_no_run(losses):
    request = keyed("", "")
    request.ClearField("run_key")
    answer = losses.Evaluate(request)
    exact = ExactSums.from_message(answer.exact)
    assert (exact.row_count, exact.correct_count) == (8, None)
    assert exact.statistics.mean == pytest.approx(answer.loss_sum / answer.weight_sum)


@pytest.mark.parametrize("way", ["unary", "stream", "header_alone"])
def test_other_sums_conflict(losses, runs, run, way):
    first = losses.Evaluate(keyed(run, "a", seed=1))
    error = refused(WAYS[way], losses, keyed(run, "a", seed=2))
    assert (error.code(), reason(error)) == (grpc.StatusCode.ALREADY_EXISTS, "KEY_CONFLICT")
    conflict = detail(error, v1.KeyConflict())
    assert (conflict.run_key.run, conflict.run_key.key) == (run, "a")
    assert conflict.counted == first.exact
    assert conflict.came.row_count == 8
    assert conflict.came != first.exact
    assert totals(runs, run) == ExactSums.from_message(first.exact)


def test_other_slice_conflicts(losses, run):
    losses.Evaluate(keyed(run, "a", slice="x"))
    conflict = detail(refused(losses.Evaluate, keyed(run, "a", slice="y")), v1.KeyConflict())
    assert (conflict.run_key.slice, conflict.came_slice) == ("x", "y")


def test_pack_refuses_single_requests(losses, runs, run):
    losses.Evaluate(keyed(run, "a", seed=1))
    requests = [keyed(run, "b"), keyed(run, "a", seed=2), keyed("no-run", "a"), keyed(run, "c"), keyed(run, "b")]
    results = losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=requests)).results
    assert [result.failure.code for result in results] == [0, 6, 5, 0, 0]
    assert sorted(result.response.was_counted for result in (results[0], results[4])) == [False, True]
    assert not results[3].response.was_counted
    assert runs.GetRun(v1.GetRunRequest(name=run)).run.totals.key_count == 3


def test_run_that_is_not_there(losses):
    error = refused(losses.Evaluate, keyed("no-run", "a"))
    assert (error.code(), reason(error)) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


def test_stream_is_refused_before_its_slabs(losses):
    header = v1.EvaluateStreamRequest(header=keyed("no-run", "a"))
    header.header.input.ClearField("data")
    refused_before = threading.Event()

    def messages():
        yield header
        assert refused_before.wait(20)  # no slab is sent before

    call = losses.EvaluateStream(messages())
    error = refused(next, call)
    refused_before.set()
    assert error.code() is grpc.StatusCode.NOT_FOUND


def other_options():
    spec = plain_spec()
    spec.cross_entropy.label_smoothing = 0.1
    return spec


def test_weight_that_no_run_has_is_refused_unread(losses, run):
    classes = 2**19 + 1
    request = keyed(run, "a")
    for tensor, shape in (request.input, [1, classes]), (request.spec.cross_entropy.weight, [classes]):
        tensor.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=shape, data=bytes(4 * classes)))
    request.target.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=[1], data=bytes(8)))
    error = refused(losses.Evaluate, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "weight: expected at most 2097152 bytes, for a run" in error.details()


@pytest.mark.parametrize("way", ["unary", "stream"])
def test_other_options_are_refused(losses, runs, run, way):
    error = refused(WAYS[way], losses, keyed(run, "a", spec=other_options()))
    assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_MISMATCH")
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "spec"
    assert totals(runs, run).row_count == 0


def test_run_by_class_needs_sums_by_class(losses, runs):
    name = f"run-{next(NUMBERS)}"
    create(runs, name, by_class=True)
    error = refused(losses.Evaluate, keyed(name, "a"))
    assert reason(error) == "RUN_MISMATCH"
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "exact.by_class"


@pytest.mark.parametrize("repeats", [1, 4], ids=["new", "known"])
def test_wrong_key_is_named(losses, run, repeats):
    for number in range(repeats - 1):  # the server remembers the form of what was right
        losses.Evaluate(keyed(run, f"key-{number}"))
    error = refused(losses.Evaluate, keyed(run, ""))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "run_key.key"


def test_weights_from_targets_are_refused(losses, run):
    spec = plain_spec()
    spec.cross_entropy.weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    error = refused(losses.Evaluate, keyed(run, "a", spec=spec))
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "spec.cross_entropy.weighting"


def test_predictions_count_correct_rows(losses, runs, run):
    outputs = v1.OutputSpec(outputs=[v1.Output.OUTPUT_PREDICTIONS])
    answer = losses.Evaluate(keyed(run, "a", outputs=outputs))
    assert totals(runs, run).correct_count == answer.correct_count
    losses.Evaluate(keyed(run, "b"))
    assert totals(runs, run).correct_count is None


def test_form_that_is_known_gives_the_same(losses, runs, run):
    answers = [losses.Evaluate(keyed(run, f"key-{number}", seed=number)) for number in range(6)]
    merged = sum((ExactSums.from_message(answer.exact) for answer in answers), ExactSums())
    assert totals(runs, run).is_same(merged)


def test_many_classes_are_refused(losses):
    request = v1.EvaluateRequest(spec=plain_spec(), exact=v1.ExactSpec(by_class=True))
    request.input.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[1, 10_001], data=bytes(40_004)))
    request.target.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=[1], data=bytes(8)))
    error = refused(losses.Evaluate, request)
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "exact.by_class"
