"""The RPCs of heads, one method each."""

from collections.abc import AsyncIterator
from functools import partial

import grpc

from losswire import v1
from losswire.v1 import head_service_pb2
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.heads import HeadCalls
from losswire_server.calls.registration import Registration
from losswire_server.rpc.edge import Edge, Method
from losswire_server.rpc.small_messages import parse_small

DESCRIPTOR = head_service_pb2.DESCRIPTOR.services_by_name["HeadService"]
NAME = DESCRIPTOR.full_name


class HeadService:
    """Each method takes the message, or messages, and who calls."""

    def __init__(self, calls: HeadCalls, registration: Registration) -> None:
        self._calls = calls
        self._registration = registration

    def RegisterHead(self, request: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[v1.RegisterHeadResponse]:
        return self._registration(request, caller)

    async def GetHead(self, request: v1.GetHeadRequest, caller: Caller) -> v1.GetHeadResponse:
        return await self._calls.get(request, caller)

    async def ListHeads(self, request: v1.ListHeadsRequest, caller: Caller) -> v1.ListHeadsResponse:
        return await self._calls.list_heads(request, caller)

    async def SetHeadAlias(self, request: v1.SetHeadAliasRequest, caller: Caller) -> v1.SetHeadAliasResponse:
        return await self._calls.set_alias(request, caller)

    async def DeleteHead(self, request: v1.DeleteHeadRequest, caller: Caller) -> v1.DeleteHeadResponse:
        return await self._calls.delete(request, caller)

    def add_to(self, server: grpc.aio.Server, edge: Edge) -> None:
        """Registers the methods as generated code would, wrapped by the edge. Parts of heads are taken as bytes."""
        handlers = {}
        for method in DESCRIPTOR.methods:
            kind, answer = getattr(v1, method.input_type.name), getattr(v1, method.output_type.name)
            many = method.client_streaming
            parse = None if many else partial(parse_small, kind)
            handlers[method.name] = edge.around(
                method.name,
                Method(
                    getattr(self, method.name),
                    parse,
                    answer.SerializeToString,
                    many_messages=many,
                    many_answers=method.server_streaming,
                ),
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
