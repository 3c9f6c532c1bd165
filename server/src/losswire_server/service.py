"""The RPCs of the contract, one method each. Errors are raised here and translated at the edge."""

from collections.abc import AsyncIterator

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.edge import Context
from losswire_server.errors import NotServedError
from losswire_server.evaluator import Evaluator


class LossService(loss_service_pb2_grpc.LossServiceServicer):
    def __init__(self, evaluator: Evaluator, capabilities: v1.GetCapabilitiesResponse) -> None:
        self._evaluator = evaluator
        self._capabilities = capabilities

    async def Evaluate(self, request: v1.EvaluateRequest, context: Context) -> v1.EvaluateResponse:
        return await self._evaluator(request)

    def EvaluateStream(
        self, request: AsyncIterator[v1.EvaluateStreamRequest], context: Context
    ) -> AsyncIterator[v1.EvaluateStreamResponse]:
        raise NotServedError("EvaluateStream", "this server takes whole batches only, in Evaluate")

    async def GetCapabilities(self, request: v1.GetCapabilitiesRequest, context: Context) -> v1.GetCapabilitiesResponse:
        return self._capabilities

    def LeaseSharedMemory(
        self, request: v1.LeaseSharedMemoryRequest, context: Context
    ) -> AsyncIterator[v1.LeaseSharedMemoryResponse]:
        raise NotServedError("LeaseSharedMemory", "this server leases no shared memory")
