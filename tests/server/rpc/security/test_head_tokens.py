"""Tokens that permit some heads alone, and no registration."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from losswire import v1
from losswire.heads.content import digest
from losswire.v1 import head_service_pb2_grpc
from losswire_client import Head, HeadNotFoundError, PermissionDeniedError
from losswire_server import Server
from losswire_server.server import SERVICES
from tests.helpers import serving
from tests.server.calls.heads.registering import Stream, reason_of, register
from tests.server.heads.making import a_message, content_of
from tests.server.rpc.security.callers import client
from tests.server.secured import write_tokens

HEADS = SERVICES[2]
DENIED = grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED"
NOT_FOUND = grpc.StatusCode.NOT_FOUND, "HEAD_NOT_FOUND"
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
    with serving(heads=folder, runs=str(tokens / "runs.db"), **write_tokens(tokens, **ENTRIES)) as running:
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
def test_aliases_of_others_are_refused_whether_heads_have_them_or_not(channel, token):
    own = digest_of(channel, "team-a")
    for name in "other-a", "other-absent":
        for rpc, request in (
            ("GetHead", v1.GetHeadRequest(name=name)),
            ("SetHeadAlias", v1.SetHeadAliasRequest(alias=name, digest=own)),
            ("DeleteHead", v1.DeleteHeadRequest(name=name)),
        ):
            assert refused(channel, rpc, request, token) == DENIED


@pytest.mark.parametrize("token", ["secret-team", "secret-none"])
def test_digests_of_others_are_answered_like_absent_ones(channel, token):
    for name in digest_of(channel, "other-a"), "0" * 64:
        for rpc, request in (
            ("GetHead", v1.GetHeadRequest(name=name)),
            ("SetHeadAlias", v1.SetHeadAliasRequest(alias="team-x", digest=name)),
            ("DeleteHead", v1.DeleteHeadRequest(name=name)),
        ):
            expected = DENIED if token == "secret-none" and rpc == "SetHeadAlias" else NOT_FOUND
            assert refused(channel, rpc, request, token) == expected


@pytest.mark.parametrize("way", [{"transport": "unary"}, {"transport": "stream"}, {"coalesce": True}], ids=str)
def test_digest_is_permitted_by_an_alias(server, channel, way):
    """Packs, runs and calls that are sent again name heads by digest."""
    states, target = np.ones((3, 2), np.float32), [0, 1, 2]
    own, other = (digest_of(channel, name) for name in ("team-a", "other-a"))
    with client(server, token="secret-team", **way) as team:
        for name in "team-a", own:
            assert team.linear_cross_entropy(states, name, target).row_count == 3
            assert team.kl_divergence(states, states, head=name, target_head=own).row_count == 3
        problems = {refused_head(team, states, target, absent) for absent in (other, "0" * 64)}
        assert problems == {"this server does not hold the head 'DIGEST': register it, or name another one"}
        with pytest.raises(HeadNotFoundError):
            team.kl_divergence(states, states, head=own, target_head=other)
        with pytest.raises(PermissionDeniedError, match=r"head: expected a head that this caller may"):
            team.linear_cross_entropy(states, "other-a", target)


def refused_head(caller, states, target, digest):
    with pytest.raises(HeadNotFoundError) as error:
        caller.linear_cross_entropy(states, digest, target)
    assert error.value.head == digest
    return str(error.value).replace(digest, "DIGEST")


def test_run_names_a_head_by_digest_and_has_it_by_an_alias(server, channel):
    states, target = np.ones((3, 2), np.float32), [0, 1, 2]
    with client(server, token="secret-team") as team:
        run = team.run("of-team", loss="linear_cross_entropy", head="team-a")
        assert run.linear_cross_entropy(states, target, key="k").row_count == 3
        assert run.options["head"] == digest_of(channel, "team-a")
        for number, absent in enumerate((digest_of(channel, "other-a"), "0" * 64)):
            run = team.run(f"of-other-{number}", loss="linear_cross_entropy", head=absent)
            with pytest.raises(HeadNotFoundError):
                run.linear_cross_entropy(states, target, key="k")
        with pytest.raises(PermissionDeniedError):
            team.run("named", loss="linear_cross_entropy", head="other-a")


def test_head_that_others_sent_is_sent_again(channel):
    """Whoever knows its digest alone gets no head thereby, and does not learn whether it is there."""
    head, content = a_message(7), content_of(a_message(7))
    register(channel, head, **of("secret-all"))
    named = v1.SetHeadAliasRequest(alias="team-7", digest=digest(head))
    begun = Stream(channel, **of("secret-team")).begin(head)
    assert begun.read() == v1.RegisterHeadResponse()
    assert refused(channel, "SetHeadAlias", named, "secret-team") == NOT_FOUND
    (answer,) = begun.send(0, content).rest()
    assert answer.head.digest == digest(head)
    assert Stream(channel, **of("secret-team")).begin(head).read().head == answer.head
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    assert list(heads.SetHeadAlias(named, **of("secret-team")).head.aliases) == ["team-7"]
    assert refused(channel, "DeleteHead", v1.DeleteHeadRequest(name=digest(head)), "secret-team") == DENIED
    heads.DeleteHead(v1.DeleteHeadRequest(name=digest(head)), **of("secret-all"))


def test_caller_with_patterns_hands_in_a_head(server):
    """It is missed, registered by the same call, and then the caller's own."""
    head = Head(np.full((4, 2), 3.5, np.float32))
    with client(server, token="secret-team") as team:
        assert team.linear_cross_entropy(np.ones((1, 2), np.float32), head, [0]).row_count == 1
        assert team.get_head(head).aliases == ()
        team.delete_head(head)
        with pytest.raises(HeadNotFoundError):
            team.get_head(head.digest)
    with client(server, token="secret-reader") as reader, pytest.raises(PermissionDeniedError, match="may register"):
        reader.linear_cross_entropy(np.ones((1, 2), np.float32), head, [0])


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
    own = digest_of(channel, "team-a")
    assert refused(channel, "SetHeadAlias", v1.SetHeadAliasRequest(alias="x", digest=own), "secret-reader") == DENIED
    assert refused(channel, "DeleteHead", v1.DeleteHeadRequest(name="team-a"), "secret-reader") == DENIED
    with pytest.raises(grpc.RpcError) as caught:
        Stream(channel, **of("secret-reader")).begin(a_message()).rest()
    assert reason_of(caught.value) == DENIED


def test_head_is_registered_and_named_within_a_callers_names(channel):
    heads = head_service_pb2_grpc.HeadServiceStub(channel)
    name = register(channel, a_message(), **of("secret-team")).digest
    named = heads.SetHeadAlias(v1.SetHeadAliasRequest(alias="team-b", digest=name), **of("secret-team")).head
    assert list(named.aliases) == ["team-b"]
    assert heads.GetHead(v1.GetHeadRequest(name="team-b"), **of("secret-team")).head.digest == name


@pytest.mark.parametrize("rpc", [method.name for method in HEADS.methods])
def test_stranger_learns_nothing_of_heads(channel, rpc):
    method = getattr(head_service_pb2_grpc.HeadServiceStub(channel), rpc)
    message = getattr(v1, HEADS.methods_by_name[rpc].input_type.name)()
    is_stream = rpc == "RegisterHead"
    with pytest.raises(grpc.RpcError) as caught:
        _ = next(method(iter([message]), **of("wrong"))) if is_stream else method(message, **of("wrong"))
    assert reason_of(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
