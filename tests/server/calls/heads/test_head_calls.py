"""Heads are read, named and deleted over a connection; and those that the operator gives."""

import asyncio

import grpc
import pytest
import torch
from prometheus_client import CollectorRegistry
from safetensors.torch import save_file

from losswire import v1
from losswire.v1 import head_service_pb2_grpc, loss_service_pb2_grpc
from losswire_server import Server, Settings
from losswire_server.process.starting import CannotStartError
from tests.helpers import serving
from tests.server.calls.heads.registering import Stream, reason_of, register
from tests.server.heads.making import a_message

NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = "0" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads")
    save_file({"weight": torch.ones(7, 3)}, path / "ones.safetensors")
    return path


@pytest.fixture
def channel(folder):
    with serving(heads=folder) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected


@pytest.fixture
def heads(channel):
    return head_service_pb2_grpc.HeadServiceStub(channel)


def listed(heads):
    return {held.digest: list(held.aliases) for held in heads.ListHeads(v1.ListHeadsRequest()).heads}


def refused(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value


def test_head_of_the_operator_is_there(heads):
    (held,) = heads.ListHeads(v1.ListHeadsRequest()).heads
    assert (list(held.aliases), held.permanent, list(held.head.weight.shape)) == (["ones"], True, [7, 3])
    assert heads.GetHead(v1.GetHeadRequest(name="ones")).head == held
    assert heads.GetHead(v1.GetHeadRequest(name=held.digest)).head == held


def test_heads_are_listed_by_digest(channel, heads):
    for seed in range(5):
        register(channel, a_message(seed))
    found = [held.digest for held in heads.ListHeads(v1.ListHeadsRequest()).heads]
    assert len(found) == 6
    assert found == sorted(found)


def test_alias_is_set_and_moves(channel, heads):
    first, second = (register(channel, a_message(seed)).digest for seed in range(2))
    assert list(heads.SetHeadAlias(v1.SetHeadAliasRequest(alias="best", digest=first)).head.aliases) == ["best"]
    assert heads.GetHead(v1.GetHeadRequest(name="best")).head.digest == first
    heads.SetHeadAlias(v1.SetHeadAliasRequest(alias="best", digest=second))
    assert heads.GetHead(v1.GetHeadRequest(name="best")).head.digest == second
    assert listed(heads)[first] == []


def test_head_and_alias_are_deleted(channel, heads):
    held = register(channel, a_message())
    for alias in "ab":
        heads.SetHeadAlias(v1.SetHeadAliasRequest(alias=alias, digest=held.digest))
    heads.DeleteHead(v1.DeleteHeadRequest(name="a"))
    assert listed(heads)[held.digest] == ["b"]
    heads.DeleteHead(v1.DeleteHeadRequest(name=held.digest))
    assert held.digest not in listed(heads)
    assert reason_of(refused(heads.GetHead, v1.GetHeadRequest(name="b"))) == (NOT_FOUND, "HEAD_NOT_FOUND")


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("GetHead", v1.GetHeadRequest(name=UNKNOWN)),
        ("GetHead", v1.GetHeadRequest(name="unknown")),
        ("SetHeadAlias", v1.SetHeadAliasRequest(alias="a", digest=UNKNOWN)),
        ("DeleteHead", v1.DeleteHeadRequest(name="unknown")),
    ],
)
def test_missing_head_is_not_found(heads, rpc, request_):
    assert reason_of(refused(getattr(heads, rpc), request_)) == (NOT_FOUND, "HEAD_NOT_FOUND")


@pytest.mark.parametrize(
    ("rpc", "request_", "field"),
    [
        ("GetHead", v1.GetHeadRequest(), "name"),
        ("GetHead", v1.GetHeadRequest(name="a b"), "name"),
        ("SetHeadAlias", v1.SetHeadAliasRequest(alias=UNKNOWN, digest=UNKNOWN), "alias"),
        ("SetHeadAlias", v1.SetHeadAliasRequest(alias="a", digest="ones"), "digest"),
        ("DeleteHead", v1.DeleteHeadRequest(), "name"),
    ],
)
def test_wrong_name_is_named(heads, rpc, request_, field):
    error = refused(getattr(heads, rpc), request_)
    assert reason_of(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert error.details().startswith(f"{field}: expected")


def test_head_of_the_operator_stays(channel, heads):
    other = register(channel, a_message()).digest
    (permanent,) = (name for name, aliases in listed(heads).items() if aliases == ["ones"])
    for name in "ones", permanent:
        assert reason_of(refused(heads.DeleteHead, v1.DeleteHeadRequest(name=name))) == (DENIED, "NOT_PERMITTED")
    taken = v1.SetHeadAliasRequest(alias="ones", digest=other)
    assert reason_of(refused(heads.SetHeadAlias, taken)) == (DENIED, "NOT_PERMITTED")
    heads.SetHeadAlias(v1.SetHeadAliasRequest(alias="more", digest=permanent))
    heads.DeleteHead(v1.DeleteHeadRequest(name="more"))


def test_operator_may_forbid_registration(folder):
    with (
        serving(heads=folder, allow_head_registration=False) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        heads = head_service_pb2_grpc.HeadServiceStub(channel)
        (name,) = listed(heads)
        named = v1.SetHeadAliasRequest(alias="a", digest=name)
        for error in (
            refused(lambda head: Stream(channel).begin(head).rest(), a_message()),
            refused(heads.SetHeadAlias, named),
        ):
            assert reason_of(error) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
            assert "its operator gave" in error.details()
        capabilities = loss_service_pb2_grpc.LossServiceStub(channel).GetCapabilities(v1.GetCapabilitiesRequest())
        assert capabilities.head_limits.max_heads == 64
        assert not capabilities.head_limits.may_register


def test_capabilities_tell_limits_of_heads():
    with (
        serving(head_bytes=12345, max_heads=3) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        told = loss_service_pb2_grpc.LossServiceStub(channel).GetCapabilities(v1.GetCapabilitiesRequest())
    expected = v1.HeadLimits(max_bytes=12345, max_heads=3, may_register=True, resume_seconds=300.0)
    assert told.head_limits == expected


def test_server_without_heads_tells_no_limits():
    with (
        serving(allow_head_registration=False) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        told = loss_service_pb2_grpc.LossServiceStub(channel).GetCapabilities(v1.GetCapabilitiesRequest())
        assert not told.HasField("head_limits")
        heads = head_service_pb2_grpc.HeadServiceStub(channel)
        error = refused(heads.ListHeads, v1.ListHeadsRequest())
    assert reason_of(error) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")


def test_server_with_a_broken_head_does_not_start(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"broken")

    async def start():
        await Server(Settings(port=0, metrics_port=0, heads=tmp_path), CollectorRegistry()).start()

    with pytest.raises(CannotStartError, match=r"a\.safetensors': expected a safetensors file"):
        asyncio.run(start())
