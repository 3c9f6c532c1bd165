"""Who may ask for the contract."""

from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from losswire_server import Server
from tests.helpers import call_of, serving

REQUEST = reflection_pb2.ServerReflectionRequest(list_services="")


def asked(server: Server, **options: Any) -> set[str] | grpc.StatusCode:
    """The services that a server tells, or how it refuses."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        try:
            answer = next(stub.ServerReflectionInfo(iter([REQUEST]), timeout=20, **options))
        except grpc.RpcError as error:
            return call_of(error).code()
    return {service.name for service in answer.list_services_response.service}


def test_reflection_needs_the_token(guarded):
    assert asked(guarded) is grpc.StatusCode.UNAUTHENTICATED
    told = asked(guarded, metadata=[("authorization", "Bearer secret-a")])
    assert isinstance(told, set)
    assert "losswire.v1.LossService" in told


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, True),
        ({"reflection": "on"}, True),
        ({"reflection": "off"}, False),
        ({"host": "0.0.0.0", "insecure": True}, False),
        ({"host": "0.0.0.0", "insecure": True, "reflection": "on"}, True),
    ],
)
def test_reflection_is_for_this_machine(settings, served):
    with serving(**settings) as server:
        told = asked(server)
    assert isinstance(told, set) if served else told is grpc.StatusCode.UNIMPLEMENTED
