"""Tokens that permit some heads alone, and no registration."""

from collections.abc import Iterator

import grpc
import pytest
import torch
from safetensors.torch import save_file

from losswire import v1
from losswire.v1 import head_service_pb2_grpc
from losswire_server import Server
from losswire_server.server import SERVICES
from tests.helpers import serving
from tests.server.calls.heads.registering import Stream, reason_of, register
from tests.server.heads.making import a_message
from tests.server.secured import write_tokens

HEADS = SERVICES[2]
DENIED = grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED"
ENTRIES = {
    "team": ("secret-team", 'heads = ["team-*"]'),
    "none": ("secret-none", "heads = []"),
    "reader": ("secret-reader", "register_heads = false"),
    "all": "secret-all",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """A server with a head of each of two teams."""
    folder = tmp_path_factory.mktemp("heads")
    for number, name in enumerate(("team-a", "other-a")):
        save_file({"weight": torch.full((4, 2), float(number))}, folder / f"{name}.safetensors")
    tokens = tmp_path_factory.mktemp("tokens")
    with serving(heads=folder, **write_tokens(tokens, **ENTRIES)) as running:
        yield running


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected


def of(token):
    return {"metadata": (("authorization", f"Bearer {token}"),)}


def refused(channel, rpc, request, token):
    method = getattr(head_service_pb2_grpc.HeadServiceStub(channel), rpc)
    with pytest.raises(grpc.RpcError) as caught:
        method(request, **of(token))
    return reason_of(caught.value)


def digest_of(channel, name):
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    return heads.GetHead(v1.GetHeadRequest(name=name), **of("secret-all")).head.digest


@pytest.mark.parametrize("token", ["secret-team", "secret-none"])
def test_heads_of_others_are_out_of_reach(channel, token):
    digest = digest_of(channel, "other-a")
    for rpc, request in (
        ("GetHead", v1.GetHeadRequest(name="other-a")),
        ("GetHead", v1.GetHeadRequest(name=digest)),
        ("SetHeadAlias", v1.SetHeadAliasRequest(alias="other-b", digest=digest)),
        ("DeleteHead", v1.DeleteHeadRequest(name="other-a")),
    ):
        assert refused(channel, rpc, request, token) == DENIED


def test_list_has_the_callers_own(channel):
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    for token, names in {"team": ["team-a"], "none": [], "reader": ["other-a", "team-a"]}.items():
        listed = heads.ListHeads(v1.ListHeadsRequest(), **of(f"secret-{token}")).heads
        assert sorted(alias for held in listed for alias in held.aliases) == names


def test_other_names_of_a_head_are_not_told(channel):
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    named = v1.SetHeadAliasRequest(alias="other-name", digest=digest_of(channel, "team-a"))
    heads.SetHeadAlias(named, **of("secret-all"))
    (held,) = heads.ListHeads(v1.ListHeadsRequest(), **of("secret-team")).heads
    got = heads.GetHead(v1.GetHeadRequest(name="team-a"), **of("secret-team")).head
    assert list(held.aliases) == list(got.aliases) == ["team-a"]


def test_caller_who_may_register_none_uses_heads(channel):
    digest = digest_of(channel, "team-a")
    assert refused(channel, "SetHeadAlias", v1.SetHeadAliasRequest(alias="x", digest=digest), "secret-reader") == DENIED
    assert refused(channel, "DeleteHead", v1.DeleteHeadRequest(name="team-a"), "secret-reader") == DENIED
    with pytest.raises(grpc.RpcError) as caught:
        Stream(channel, **of("secret-reader")).begin(a_message()).rest()
    assert reason_of(caught.value) == DENIED


def test_head_is_registered_and_named_within_a_callers_names(channel):
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    digest = register(channel, a_message(), **of("secret-team")).digest
    named = heads.SetHeadAlias(v1.SetHeadAliasRequest(alias="team-b", digest=digest), **of("secret-team")).head
    assert list(named.aliases) == ["team-b"]
    assert heads.GetHead(v1.GetHeadRequest(name="team-b"), **of("secret-team")).head.digest == digest


@pytest.mark.parametrize("rpc", [method.name for method in HEADS.methods])
def test_stranger_learns_nothing_of_heads(channel, rpc):
    method = getattr(head_service_pb2_grpc.HeadServiceStub(channel), rpc)
    message = getattr(v1, HEADS.methods_by_name[rpc].input_type.name)()
    is_stream = rpc == "RegisterHead"
    with pytest.raises(grpc.RpcError) as caught:
        _ = next(method(iter([message]), **of("wrong"))) if is_stream else method(message, **of("wrong"))
    assert reason_of(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
