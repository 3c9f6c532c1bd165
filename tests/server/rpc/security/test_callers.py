"""Servers that know their callers by tokens, and SDKs that fit them."""

import logging
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import OverloadedError, PermissionDeniedError, UnauthenticatedError
from tests.helpers import call_of, serving, total
from tests.server.packs import small
from tests.server.rpc.security.callers import LOGITS, TARGET, client, evaluates, metric
from tests.server.secured import replace, write_tokens


def test_token_is_needed_for_all_but_health(guarded):
    with client(guarded, token="secret-a") as known:
        assert known.cross_entropy(LOGITS, TARGET).row_count == 1
        assert known.capabilities().losses
    for token in (None, "secret", "secret-b "[:3]):
        with client(guarded, token=token) as stranger:
            assert stranger.ping() > 0
            for call in (stranger.capabilities, lambda c=stranger: c.cross_entropy(LOGITS, TARGET)):
                with pytest.raises(UnauthenticatedError, match="expected a token"):
                    call()


RPCS = {
    "Evaluate": "unary_unary",
    "BatchEvaluate": "unary_unary",
    "EvaluateStream": "stream_stream",
    "GetCapabilities": "unary_unary",
    "LeaseSharedMemory": "unary_stream",
}
NO_MESSAGE = b"\xff"


@pytest.mark.slow
@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ([], "missing"),
        (["Bearer wrong"], "unknown"),
        (["Bearer "], "malformed"),
        (["Basic c2VjcmV0"], "malformed"),
        (["Bearer secret-a", "Bearer secret-a"], "malformed"),
        (["Bearer secret-a secret-a"], "malformed"),
    ],
)
def test_stranger_is_refused_before_the_message_is_parsed(rpc, authorization, reason, guarded):
    kind = RPCS[rpc]
    before = metric(guarded, "losswire_unauthenticated_calls_total", reason=reason)
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        call: Any = getattr(channel, kind)(f"/losswire.v1.LossService/{rpc}")
        metadata = [("authorization", value) for value in authorization]
        request = iter([NO_MESSAGE]) if kind.startswith("stream") else NO_MESSAGE
        begin = call if kind.endswith("stream") else call.future
        with pytest.raises(grpc.RpcError) as refused:
            list(begin(request, metadata=metadata, timeout=20).result())
    assert call_of(refused.value).code() is grpc.StatusCode.UNAUTHENTICATED
    assert metric(guarded, "losswire_unauthenticated_calls_total", reason=reason) == before + 1


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_has_no_case(scheme, guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        answer = LossServiceStub(channel).GetCapabilities(
            v1.GetCapabilitiesRequest(), metadata=(("authorization", f"{scheme} secret-a"),)
        )
    assert answer.version


def test_token_rotates_while_callers_run(tmp_path):
    file = tmp_path / "token"
    replace(file, b"old")
    with serving(**write_tokens(tmp_path, a="old")) as server, client(server, token=file) as running:
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
        tokens = tmp_path / "tokens.toml"
        old = tokens.read_text()
        write_tokens(tmp_path, a="new")
        replace(tokens, (old + tokens.read_text()).encode())  # both, for a time
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
        replace(file, b"new")
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
        write_tokens(tmp_path, a="new")
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
        with client(server, token="old") as late, pytest.raises(UnauthenticatedError):
            late.capabilities()


def test_wrong_new_tokens_keep_the_old_ones(tmp_path, caplog):
    with serving(**write_tokens(tmp_path, a="old")) as server:
        (tmp_path / "tokens.toml").write_text("[[tokens]]\nname =")
        for _ in range(3):
            assert evaluates(server, token="old")
        assert metric(server, "losswire_failed_reloads_total", file="tokens") == 1
    warnings = [record.setting for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["tokens"]


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_token_permits_its_losses_and_series_alone(transport, guarded):
    with client(guarded, token="secret-b", transport=transport) as connected:
        for _ in range(4):  # the server remembers requests that were right
            assert connected.nll_loss(-abs(LOGITS), TARGET, series="b/x").row_count == 1
            with pytest.raises(PermissionDeniedError, match=r"series: .*got c/x"):
                connected.nll_loss(-abs(LOGITS), TARGET, series="c/x")
            with pytest.raises(PermissionDeniedError, match=r"series: .*got none"):
                connected.nll_loss(-abs(LOGITS), TARGET)
            with pytest.raises(PermissionDeniedError, match=r"spec\.loss: .*nll_loss; got cross_entropy"):
                connected.cross_entropy(LOGITS, TARGET, series="b/x")
    assert metric(guarded, "losswire_weight_sum_total", loss="nll_loss", series="b/x") == 4
    assert total(guarded.registry, "losswire_rows_total", loss="cross_entropy") == 0


def test_remembered_request_is_anothers_right_alone(guarded):
    with client(guarded, token="secret-a") as permitted, client(guarded, token="secret-b") as other:
        for _ in range(4):
            assert permitted.cross_entropy(LOGITS, TARGET, series="b/x").row_count == 1
            with pytest.raises(PermissionDeniedError):
                other.cross_entropy(LOGITS, TARGET, series="b/x")


def test_forbidden_requests_of_a_pack_fail_alone(tmp_path):
    series = ["b/x", "c/x", "b/x", "c/x", "c/y", "b/y", ""]
    requests = [small(number, series=name) for number, name in enumerate(series)]
    weighted = small(9, series="c/x")  # evaluated alone
    weighted.spec.cross_entropy.weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    entries = {"b": ("secret", 'series = ["b/*"]')}
    with (
        serving(**write_tokens(tmp_path, **entries)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        answer = LossServiceStub(channel).BatchEvaluate(
            v1.BatchEvaluateRequest(requests=[*requests, weighted]), metadata=(("authorization", "Bearer secret"),)
        )
    codes = [result.failure.code for result in answer.results]
    denied = grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert codes == [0 if name.startswith("b/") else denied for name in series] + [denied]
    assert all(result.response.row_count == 32 for result in answer.results if not result.HasField("failure"))
    failures = [result.failure.message for result in answer.results if result.HasField("failure")]
    assert [message.rpartition(" ")[2] for message in failures] == ["c/x", "c/x", "c/y", "none", "c/x"]


def test_log_of_calls_names_callers_and_no_token(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(**write_tokens(tmp_path, team="secret-of-the-team")) as server:
        assert evaluates(server, token="secret-of-the-team")
        with client(server, token="another-secret") as stranger, pytest.raises(UnauthenticatedError):
            stranger.capabilities()
    lines = [record for record in caplog.records if record.getMessage() == "call"]
    told = {(line.code, getattr(line, "caller", None)) for line in lines}
    assert told == {("OK", "team"), ("UNAUTHENTICATED", None)}
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_token_has_limits_of_its_own(tmp_path):
    entries = {"few": ("secret-few", "requests_per_second = 2\nleases = 1"), "many": "secret-many"}
    with (
        serving(**write_tokens(tmp_path, **entries)) as server,
        client(server, token="secret-few") as few,
        client(server, token="secret-few") as same,
        client(server, token="secret-many") as many,
    ):
        calls = [one.capabilities for one in (few, same)] * 4  # on connections of the same caller
        with pytest.raises(OverloadedError, match="more than 2 calls a second"):
            _ = [call() for call in calls]
        assert [many.capabilities() for _ in range(8)]


def test_token_limits_what_its_caller_holds_on_all_connections(tmp_path):
    entries = {"few": ("secret-few", "leases = 1"), "many": "secret-many"}
    with serving(**write_tokens(tmp_path, **entries)) as server, ExitStack() as stack:
        few, same, many = (
            stack.enter_context(client(server, token=token)) for token in ("secret-few", "secret-few", "secret-many")
        )
        held = [few.empty((2, 3))]
        with pytest.raises(OverloadedError, match="1 regions under way"):
            same.empty((2, 3))
        held += [many.empty((2, 3)) for _ in range(2)]
        assert len(held) == 3
