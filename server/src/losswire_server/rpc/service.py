"""The RPCs of the contract, one method each. Errors are raised here and translated at the edge."""

from collections.abc import AsyncIterator
from functools import partial

import grpc

from losswire import v1
from losswire.v1 import loss_service_pb2
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.limits import UNLIMITED, Account
from losswire_server.calls.packs import Packs
from losswire_server.calls.streams.flow import Streams
from losswire_server.calls.unary import Unary
from losswire_server.memory.leases import Leases
from losswire_server.rpc.capabilities import with_caller_limits
from losswire_server.rpc.edge import Edge, Method
from losswire_server.rpc.small_messages import parse_small

NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name


class LossService:
    """Each method takes the message, or messages, and who calls."""

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

    async def Evaluate(self, request: bytes, caller: Caller) -> bytes:
        return await self._unary(request, caller)

    async def BatchEvaluate(self, request: bytes, caller: Caller) -> bytes:
        return await self._packs(request, caller)

    def EvaluateStream(self, request: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[bytes]:
        return self._streams(request, caller)

    async def GetCapabilities(self, request: v1.GetCapabilitiesRequest, caller: Caller) -> v1.GetCapabilitiesResponse:
        limits = UNLIMITED if caller.account is None else caller.account.limits
        return with_caller_limits(self._capabilities, limits)

    async def LeaseSharedMemory(
        self, request: v1.LeaseSharedMemoryRequest, caller: Caller
    ) -> AsyncIterator[v1.LeaseSharedMemoryResponse]:
        self._leases.check(request.size_bytes, caller.peer)
        account = caller.account or Account()
        with account.leasing(request.size_bytes, self._leases.max_bytes):
            async for lease in self._leases.lease(request.size_bytes, caller.peer):
                yield v1.LeaseSharedMemoryResponse(**lease._asdict())

    def add_to(self, server: grpc.aio.Server, edge: Edge) -> None:
        """Registers the methods as generated code would, wrapped by the edge.

        Evaluations take and return bytes: parsing and serialising a large message takes too long for the event loop.
        """
        get_capabilities = partial(parse_small, v1.GetCapabilitiesRequest), v1.GetCapabilitiesResponse.SerializeToString
        lease = partial(parse_small, v1.LeaseSharedMemoryRequest), v1.LeaseSharedMemoryResponse.SerializeToString
        methods = {
            "Evaluate": Method(self.Evaluate),
            "BatchEvaluate": Method(self.BatchEvaluate),
            "EvaluateStream": Method(self.EvaluateStream, many_messages=True, many_answers=True),
            "GetCapabilities": Method(self.GetCapabilities, *get_capabilities),
            "LeaseSharedMemory": Method(self.LeaseSharedMemory, *lease, many_answers=True),
        }
        handlers = {name: edge.around(name, method) for name, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
