"""The messages and enums of the contract in one namespace: ``from losswire import v1``.

The service's stubs need grpcio, which this distribution does without, so they are imported by their own name:
``from losswire.v1 import loss_service_pb2_grpc``.
"""

from losswire.v1.batch_evaluate_pb2 import BatchEvaluateRequest, BatchEvaluateResponse, EvaluateResult, Failure
from losswire.v1.capabilities_pb2 import (
    Batching,
    CallerLimits,
    Device,
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    Limits,
    Transport,
)
from losswire.v1.errors_pb2 import ErrorReason
from losswire.v1.evaluate_pb2 import (
    EvaluateRequest,
    EvaluateResponse,
    EvaluateStreamRequest,
    EvaluateStreamResponse,
    GradientSpec,
    Output,
    OutputSpec,
    ResultSlab,
    Slab,
)
from losswire.v1.loss_spec_pb2 import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    ClassWeighting,
    CrossEntropy,
    Loss,
    LossSpec,
    NllLoss,
    Reduction,
)
from losswire.v1.shared_memory_pb2 import LeaseSharedMemoryRequest, LeaseSharedMemoryResponse
from losswire.v1.tensor_pb2 import Dtype, SharedMemorySpan, Tensor

__all__ = [
    "BatchEvaluateRequest",
    "BatchEvaluateResponse",
    "Batching",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "CallerLimits",
    "ClassWeighting",
    "CrossEntropy",
    "Device",
    "Dtype",
    "ErrorReason",
    "EvaluateRequest",
    "EvaluateResponse",
    "EvaluateResult",
    "EvaluateStreamRequest",
    "EvaluateStreamResponse",
    "Failure",
    "GetCapabilitiesRequest",
    "GetCapabilitiesResponse",
    "GradientSpec",
    "LeaseSharedMemoryRequest",
    "LeaseSharedMemoryResponse",
    "Limits",
    "Loss",
    "LossSpec",
    "NllLoss",
    "Output",
    "OutputSpec",
    "Reduction",
    "ResultSlab",
    "SharedMemorySpan",
    "Slab",
    "Tensor",
    "Transport",
]
