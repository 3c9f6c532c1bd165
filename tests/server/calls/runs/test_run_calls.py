"""The calls of RunService, as a caller in any language makes them. What the store does is tested with the store."""

from itertools import count

import grpc
import pytest
from google.rpc import error_details_pb2

from losswire import v1
from losswire.exact_sums import ExactSums
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import serving
from tests.server.calls.runs.keyed import create, keyed, plain_spec, totals
from tests.server.calls.runs.test_keyed_calls import detail, reason, refused

NUMBERS = count()


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    with (
        serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db"), max_run_keys=20) as running,
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
def run(runs, losses):
    """The name of a run with three keys."""
    name = f"run-{next(NUMBERS)}"
    create(runs, name)
    for number in range(3):
        losses.Evaluate(keyed(name, f"key-{number}", seed=number, slice=f"slice-{number % 2}"))
    return name


def test_run_is_created_once(runs):
    name = f"run-{next(NUMBERS)}"
    request = v1.CreateRunRequest(name=name, spec=plain_spec(), labels={"model": "m"}, expected_key_count=3)
    first, again = runs.CreateRun(request), runs.CreateRun(request)
    assert (first.created, again.created) == (True, False)
    assert first.run == again.run
    assert first.run.state == v1.RunState.RUN_STATE_OPEN
    assert (dict(first.run.labels), first.run.expected_key_count) == ({"model": "m"}, 3)
    assert first.run.spec.WhichOneof("loss") == "cross_entropy"


def test_run_with_other_options_exists(runs, run):
    spec = plain_spec()
    spec.cross_entropy.ignore_index = 0
    error = refused(runs.CreateRun, v1.CreateRunRequest(name=run, spec=spec))
    assert (error.code(), reason(error)) == (grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS")
    (violation,) = detail(error, error_details_pb2.BadRequest()).field_violations
    assert violation.field == "spec.cross_entropy.ignore_index"
    assert violation.description == f"run {run!r} has -100, got 0"


def test_totals_are_those_of_all_keys(runs, run):
    sums = [ExactSums.from_message(key.sums) for key in runs.ListRunKeys(v1.ListRunKeysRequest(name=run)).keys]
    assert totals(runs, run) == sum(sums[1:], sums[0])
    whole = runs.GetRun(v1.GetRunRequest(name=run)).run
    assert whole.totals.key_count == 3
    assert whole.totals.statistics.mean == sum(sums[1:], sums[0]).statistics.mean
    assert [(of.slice, of.totals.key_count) for of in whole.slices] == [("slice-0", 2), ("slice-1", 1)]


def test_runs_are_listed_in_pages(runs):
    names = [f"listed/{number}" for number in range(5)]
    for name in names:
        create(runs, name)
    found, token = [], ""
    while True:
        page = runs.ListRuns(v1.ListRunsRequest(page_size=2, page_token=token, name_prefix="listed/"))
        found += [listed.name for listed in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert found == names[::-1]


def test_keys_are_listed_in_pages(runs, run):
    first = runs.ListRunKeys(v1.ListRunKeysRequest(name=run, page_size=2))
    second = runs.ListRunKeys(v1.ListRunKeysRequest(name=run, page_size=2, page_token=first.next_page_token))
    assert [[key.key for key in page.keys] for page in (first, second)] == [["key-0", "key-1"], ["key-2"]]
    assert second.next_page_token == ""
    of_slice = runs.ListRunKeys(v1.ListRunKeysRequest(name=run, slice="slice-1"))
    assert [key.key for key in of_slice.keys] == ["key-1"]


def test_missing_keys_are_found(runs, run):
    asked = v1.FindMissingKeysRequest(name=run, keys=["key-9", "key-1", "key-7"])
    assert list(runs.FindMissingKeys(asked).missing) == ["key-9", "key-7"]


def test_incomplete_run_does_not_finish(runs, run):
    keys = v1.ExpectedKeys(keys=["key-0", "key-1", "key-8"])
    error = refused(runs.FinishRun, v1.FinishRunRequest(name=run, keys=keys))
    assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_INCOMPLETE")
    failure = detail(error, error_details_pb2.PreconditionFailure())
    assert [(found.type, found.subject) for found in failure.violations] == [
        ("MISSING_KEY", "key-8"),
        ("UNEXPECTED_KEY", "key-2"),
    ]


def test_many_missing_keys_fit_the_error(runs, run):
    keys = v1.ExpectedKeys(keys=[f"{number:0500d}" for number in range(1000)])
    failure = detail(
        refused(runs.FinishRun, v1.FinishRunRequest(name=run, keys=keys)), error_details_pb2.PreconditionFailure()
    )
    assert 1 < len(failure.violations) < 20


def test_finished_run_takes_no_more(runs, losses, run):
    finished = runs.FinishRun(v1.FinishRunRequest(name=run, key_count=3)).run
    assert finished.state == v1.RunState.RUN_STATE_FINISHED
    assert finished == runs.FinishRun(v1.FinishRunRequest(name=run, key_count=3)).run
    assert losses.Evaluate(keyed(run, "key-1", seed=1, slice="slice-1")).was_counted
    error = refused(losses.Evaluate, keyed(run, "key-3"))
    assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_FINISHED")


def test_watched_run_ends_when_it_is_finished(runs, losses, run):
    watched = runs.WatchRun(v1.WatchRunRequest(name=run, interval_seconds=0.1))
    assert next(watched).run.totals.key_count == 3
    losses.Evaluate(keyed(run, "key-3"))
    assert next(watched).run.totals.key_count == 4
    runs.FinishRun(v1.FinishRunRequest(name=run, key_count=4))
    assert [answer.run.state for answer in watched] == [v1.RunState.RUN_STATE_FINISHED]


def test_watched_run_may_be_deleted(runs, run):
    watched = runs.WatchRun(v1.WatchRunRequest(name=run, interval_seconds=0.1))
    next(watched)
    runs.DeleteRun(v1.DeleteRunRequest(name=run))
    assert refused(list, watched).code() is grpc.StatusCode.NOT_FOUND


def test_deleted_run_is_gone(runs, losses, run):
    runs.DeleteRun(v1.DeleteRunRequest(name=run))
    assert refused(runs.GetRun, v1.GetRunRequest(name=run)).code() is grpc.StatusCode.NOT_FOUND
    assert refused(losses.Evaluate, keyed(run, "key-0")).code() is grpc.StatusCode.NOT_FOUND
    create(runs, run)
    assert totals(runs, run) == ExactSums()


def test_run_has_a_quota_of_keys(losses, run):
    for number in range(3, 20):
        losses.Evaluate(keyed(run, f"key-{number}"))
    error = refused(losses.Evaluate, keyed(run, "one-more"))
    assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RUN_QUOTA")
    assert losses.Evaluate(keyed(run, "key-19")).was_counted


@pytest.mark.parametrize(
    ("call", "request_", "field"),
    [
        ("GetRun", v1.GetRunRequest(), "name"),
        ("CreateRun", v1.CreateRunRequest(name="a b", spec=plain_spec()), "name"),
        ("CreateRun", v1.CreateRunRequest(name="a"), "spec.loss"),
        ("ListRuns", v1.ListRunsRequest(page_size=-1), "page_size"),
        ("ListRuns", v1.ListRunsRequest(page_token="junk"), "page_token"),
        ("ListRunKeys", v1.ListRunKeysRequest(name="a", page_size=10_001), "page_size"),
        ("FindMissingKeys", v1.FindMissingKeysRequest(name="a", keys=["x"] * 1001), "keys"),
        ("FindMissingKeys", v1.FindMissingKeysRequest(name="a", keys=[""]), "keys"),
        ("FinishRun", v1.FinishRunRequest(name="a", keys=v1.ExpectedKeys(keys=[""])), "keys.keys"),
        ("FinishRun", v1.FinishRunRequest(name="a", key_count=-1), "key_count"),
        ("FinishRun", v1.FinishRunRequest(name="a", keys=v1.ExpectedKeys(keys=["\0"])), "keys.keys"),
    ],
)
def test_wrong_call_names_its_field(runs, call, request_, field):
    error = refused(getattr(runs, call), request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == field


def test_unknown_field_is_not_served(channel):
    ask = channel.unary_unary("/losswire.v1.RunService/GetRun", v1.GetRunRequest.SerializeToString)
    unknown = v1.GetRunRequest.FromString(v1.GetRunRequest(name="a").SerializeToString() + b"\xf8\x07\x01")
    error = refused(ask, unknown)
    assert (error.code(), reason(error)) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")


def test_wrong_interval_is_named(runs, run):
    error = refused(next, runs.WatchRun(v1.WatchRunRequest(name=run, interval_seconds=0.01)))
    assert detail(error, error_details_pb2.BadRequest()).field_violations[0].field == "interval_seconds"


def test_finish_needs_to_know_what_is_expected(runs, run):
    error = refused(runs.FinishRun, v1.FinishRunRequest(name=run))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_large_class_weights_fit(runs):
    spec = plain_spec()
    size = 128_256
    spec.cross_entropy.weight.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT64, shape=[size], data=bytes(8 * size)))
    assert create(runs, f"run-{next(NUMBERS)}", spec=spec).spec == spec


@pytest.mark.parametrize(
    ("stub", "call", "request_"),
    [
        (run_service_pb2_grpc.RunServiceStub, "CreateRun", v1.CreateRunRequest(name="a", spec=plain_spec())),
        (run_service_pb2_grpc.RunServiceStub, "GetRun", v1.GetRunRequest(name="a")),
        (loss_service_pb2_grpc.LossServiceStub, "Evaluate", keyed("a", "b")),
    ],
)
def test_server_without_runs_says_so(target, stub, call, request_):
    with grpc.insecure_channel(target) as connected:
        error = refused(getattr(stub(connected), call), request_)
    assert (error.code(), reason(error)) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
    assert "--runs" in error.details()


def test_server_without_runs_answers_the_others_of_a_pack(target):
    plain = keyed("a", "b")
    plain.ClearField("run_key")
    with grpc.insecure_channel(target) as connected:
        losses = loss_service_pb2_grpc.LossServiceStub(connected)
        with_key, without = losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=[keyed("a", "b"), plain])).results
        assert without.response == losses.Evaluate(plain)
    assert with_key.failure.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
