"""Triton's own client, over gRPC and over system shared memory.

bfloat16 is sent as it is: over gRPC in ml_dtypes' arrays, which Triton's client does not convert. Through shared
memory, a run copies the batch into a region and reads the results where they lie; regions and the objects that
describe tensors in them are made once. Each caller has a client of its own, because threads must not share one.
"""

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import shared_memory

from benchmarks.batch import Answer, Batch, Prepare, Run, as_array, as_bytes, as_tensor
from benchmarks.wire.triton.server import tritonserver

DATATYPES = {torch.float32: "FP32", torch.bfloat16: "BF16", torch.int64: "INT64"}
LOSS_BYTES = 64  # only four are used: so the gradient after them is aligned

warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # PyTorch warns; nobody writes to it


@contextmanager
def over_grpc() -> Iterator[Prepare]:
    with tritonserver(batching=False) as address:
        yield partial(_grpc_client, address)


@contextmanager
def over_grpc_batching() -> Iterator[Prepare]:
    with tritonserver(batching=True) as address:
        yield partial(_grpc_client, address, leading=(1,))


@contextmanager
def over_shared_memory() -> Iterator[Prepare]:
    with tritonserver(batching=False) as address:
        yield partial(_shared_memory_client, address)


@contextmanager
def _grpc_client(address: str, batch: Batch, leading: tuple[int, ...] = ()) -> Iterator[Run]:
    logits, target = (tensor.view(*leading, *tensor.shape) for tensor in batch.tensors())
    names = ("loss", "gradient") if batch.grad else ("loss",)
    with InferenceServerClient(address) as client:

        def run() -> Answer:
            inputs = [_input("logits", logits), _input("target", target)]
            for message, tensor in zip(inputs, (logits, target), strict=True):
                message.set_data_from_numpy(as_array(tensor))
            result = client.infer(_model(batch), inputs, outputs=[InferRequestedOutput(name) for name in names])
            grad = as_tensor(result.as_numpy("gradient")) if batch.grad else None
            return Answer(result.as_numpy("loss").item(), grad)

        yield run


@contextmanager
def _shared_memory_client(address: str, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    arrays = [np.asarray(as_bytes(tensor)) for tensor in (target, logits)]
    grad_bytes = logits.nbytes if batch.grad else 0
    with (
        InferenceServerClient(address) as client,
        _region(client, target.nbytes + logits.nbytes) as (to_server, to_server_name),
        _region(client, LOSS_BYTES + grad_bytes) as (from_server, from_server_name),
    ):
        inputs = [_input("target", target), _input("logits", logits)]
        inputs[0].set_shared_memory(to_server_name, target.nbytes)
        inputs[1].set_shared_memory(to_server_name, logits.nbytes, offset=target.nbytes)
        outputs = _outputs_in(from_server_name, grad_bytes)

        def run() -> Answer:
            shared_memory.set_shared_memory_region(to_server, arrays)
            client.infer(_model(batch), inputs, outputs=outputs)
            loss = shared_memory.get_contents_as_numpy(from_server, np.float32, (1,)).item()
            return Answer(loss, _view(from_server, logits) if batch.grad else None)

        yield run


@contextmanager
def _region(client: Any, size: int) -> Iterator[tuple[Any, str]]:
    name = f"losswire-bench-{uuid.uuid4().hex}"
    handle = shared_memory.create_shared_memory_region(name, f"/{name}", size, create_only=True)
    try:
        client.register_system_shared_memory(name, f"/{name}", size)
        try:
            yield handle, name
        finally:
            client.unregister_system_shared_memory(name)
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def _outputs_in(region: str, grad_bytes: int) -> list[Any]:
    loss = InferRequestedOutput("loss")
    loss.set_shared_memory(region, 4)
    if not grad_bytes:
        return [loss]
    gradient = InferRequestedOutput("gradient")
    gradient.set_shared_memory(region, grad_bytes, offset=LOSS_BYTES)
    return [loss, gradient]


def _view(region: Any, like: Tensor) -> Tensor:
    contents = shared_memory.get_contents_as_numpy(region, np.uint8, (like.nbytes,), LOSS_BYTES)
    return torch.from_numpy(contents).view(like.dtype).view(like.shape)


def _input(name: str, tensor: Tensor) -> Any:
    return InferInput(name, list(tensor.shape), DATATYPES[tensor.dtype])


def _model(batch: Batch) -> str:
    return f"cross_entropy_{DATATYPES[batch.torch_dtype]}"
