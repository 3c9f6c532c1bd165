"""Tokens that permit some runs alone."""

from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from losswire_client import PermissionDeniedError, UnauthenticatedError
from losswire_server import Server
from losswire_server.server import SERVICES
from tests.helpers import serving
from tests.server.calls.runs.keyed import keyed, plain_spec
from tests.server.rpc.security.callers import LOGITS, TARGET, client
from tests.server.secured import write_tokens

RUNS = SERVICES[1]
OF_RUNS = {  # a message for each RPC, about the run of another team
    "CreateRun": v1.CreateRunRequest(name="other/x", spec=plain_spec()),
    "GetRun": v1.GetRunRequest(name="other/x"),
    "ListRunKeys": v1.ListRunKeysRequest(name="other/x"),
    "FindMissingKeys": v1.FindMissingKeysRequest(name="other/x", keys=["k"]),
    "WatchRun": v1.WatchRunRequest(name="other/x"),
    "FinishRun": v1.FinishRunRequest(name="other/x", key_count=1),
    "DeleteRun": v1.DeleteRunRequest(name="other/x"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """A server with a run of each of two teams, and a caller who is of neither."""
    folder = tmp_path_factory.mktemp("runs")
    entries = {"team": ("secret-team", 'runs = ["team/*"]'), "none": ("secret-none", "runs = []"), "all": "secret-all"}
    with serving(runs=str(folder / "runs.db"), **write_tokens(folder, **entries)) as running:
        with client(running, token="secret-all") as one:
            for name in ("team/x", "other/x"):
                one.run(name).cross_entropy(LOGITS, TARGET, key="k")
        yield running


def code_of(server: Server, rpc: str, message: object, token: str) -> grpc.StatusCode:
    """How a call about runs ends."""
    metadata = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        method = getattr(run_service_pb2_grpc.RunServiceStub(channel), rpc)
        is_stream = RUNS.methods_by_name[rpc].server_streaming
        call = (method if is_stream else method.future)(message, metadata=metadata, timeout=20)
        with suppress(grpc.RpcError):
            _ = next(call) if is_stream else call.result()
        code: grpc.StatusCode = call.code()
        return code


def test_messages_are_of_every_rpc_about_one_run():
    assert OF_RUNS.keys() == {method.name for method in RUNS.methods} - {"ListRuns"}


@pytest.mark.parametrize("rpc", OF_RUNS)
@pytest.mark.parametrize("token", ["secret-team", "secret-none"])
def test_runs_of_others_are_out_of_reach(rpc, token, server):
    assert code_of(server, rpc, OF_RUNS[rpc], token) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("rpc", [*OF_RUNS, "ListRuns"])
def test_stranger_learns_nothing_of_runs(rpc, server):
    message = OF_RUNS.get(rpc, v1.ListRunsRequest())
    assert code_of(server, rpc, message, "wrong") is grpc.StatusCode.UNAUTHENTICATED


def test_list_has_the_callers_own(server):
    for token, names in {"secret-team": {"team/x"}, "secret-none": set(), "secret-all": {"team/x", "other/x"}}.items():
        with client(server, token=token) as caller:
            assert {run.name for run in caller.runs()} == names


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_key_of_anothers_run_is_refused(transport, server):
    with client(server, token="secret-team", transport=transport) as team:
        assert team.run("team/x").cross_entropy(LOGITS, TARGET, key=transport).row_count == 1
    with client(server, token="secret-all") as everybody:
        run = everybody.run("other/x")
        before = run.result()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = loss_service_pb2_grpc.LossServiceStub(channel)
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                stub.Evaluate(keyed("other/x", transport), metadata=(("authorization", "Bearer secret-team"),))
        assert run.result() == before


def test_evaluation_without_a_key_needs_no_run(server):
    with client(server, token="secret-none") as caller:
        assert caller.cross_entropy(LOGITS, TARGET).row_count == 1
        with pytest.raises(PermissionDeniedError, match=r"run: .*this caller may use, none; got team/x"):
            caller.run("team/x")
    with client(server, token="wrong") as stranger, pytest.raises(UnauthenticatedError):
        stranger.run("team/x")
