"""The RPCs of the contract, one method each. Errors are raised here and translated at the edge."""

from collections.abc import AsyncIterator
from functools import partial

import grpc

from losswire import v1
from losswire.parsing import parse
from losswire.v1 import loss_service_pb2
from losswire_server.calls.packs import Packs
from losswire_server.calls.streams import Streams
from losswire_server.calls.unary import Unary
from losswire_server.memory.leases import Leases
from losswire_server.rpc.call import Context, caller_of
from losswire_server.rpc.edge import Edge, Handler

NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name


class LossService:
    def __init__(
        self,
        unary: Unary,
        packs: Packs,
        streams: Streams,
        leases: Leases,
        capabilities: v1.GetCapabilitiesResponse,
    ) -> None:
        self._unary = unary
        self._packs = packs
        self._streams = streams
        self._leases = leases
        self._capabilities = capabilities

    async def Evaluate(self, request: bytes, context: Context) -> bytes:
        return await self._unary(request, caller_of(context))

    async def BatchEvaluate(self, request: bytes, context: Context) -> bytes:
        return await self._packs(request, caller_of(context))

    def EvaluateStream(self, request: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        return self._streams(request, caller_of(context))

    async def GetCapabilities(self, request: v1.GetCapabilitiesRequest, context: Context) -> v1.GetCapabilitiesResponse:
        return self._capabilities

    async def LeaseSharedMemory(
        self, request: v1.LeaseSharedMemoryRequest, context: Context
    ) -> AsyncIterator[v1.LeaseSharedMemoryResponse]:
        async for lease in self._leases.lease(request.size_bytes, context.peer()):
            yield v1.LeaseSharedMemoryResponse(**lease._asdict())

    def add_to(self, server: grpc.aio.Server, edge: Edge) -> None:
        """Registers the methods as generated code would, wrapped by the edge.

        Evaluations take and return bytes: parsing and serialising a large message takes too long for the event loop.
        """
        methods: dict[str, Handler] = {
            "Evaluate": grpc.unary_unary_rpc_method_handler(self.Evaluate),
            "BatchEvaluate": grpc.unary_unary_rpc_method_handler(self.BatchEvaluate),
            "EvaluateStream": grpc.stream_stream_rpc_method_handler(self.EvaluateStream),
            "GetCapabilities": grpc.unary_unary_rpc_method_handler(
                self.GetCapabilities,
                partial(parse, v1.GetCapabilitiesRequest),
                v1.GetCapabilitiesResponse.SerializeToString,
            ),
            "LeaseSharedMemory": grpc.unary_stream_rpc_method_handler(
                self.LeaseSharedMemory,
                partial(parse, v1.LeaseSharedMemoryRequest),
                v1.LeaseSharedMemoryResponse.SerializeToString,
            ),
        }
        handlers = {name: edge.around(name, handler) for name, handler in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
