"""A gRPC service as the tutorials write it: a threaded server, unary calls, generated code, a protobuf bytes field.

It speaks Losswire's messages, and does nothing else that Losswire does: no checks, no admission, no metrics.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import grpc
import torch
from torch import Tensor

from benchmarks.batch import Answer, Batch, Prepare, Run, as_bytes
from benchmarks.ways import torch_answer
from benchmarks.wire.serving import serve_until_left, serving
from losswire import v1
from losswire.dtypes import BY_NAME, BY_WIRE
from losswire.v1 import loss_service_pb2_grpc

OPTIONS = [("grpc.max_receive_message_length", 2**31 - 1), ("grpc.max_send_message_length", 2**31 - 1)]
THREADS = 32


@contextmanager
def contestant() -> Iterator[Prepare]:
    with serving("benchmarks.wire.plain_grpc") as port:
        yield partial(_client, port)


@contextmanager
def _client(port: int, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    with grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)

        def run() -> Answer:
            request = v1.EvaluateRequest(target=_message(target), input=_message(logits))
            if batch.grad:
                request.outputs.gradient.SetInParent()
            response = stub.Evaluate(request)
            return Answer(_tensor(response.loss), _tensor(response.gradient) if batch.grad else None)

        yield run


class _Service(loss_service_pb2_grpc.LossServiceServicer):
    def Evaluate(self, request: v1.EvaluateRequest, context: grpc.ServicerContext) -> v1.EvaluateResponse:  # noqa: ARG002, N802
        grad = request.outputs.HasField("gradient")
        answer = torch_answer(_tensor(request.input), _tensor(request.target), grad=grad)
        response = v1.EvaluateResponse(loss=_message(answer.loss))
        if answer.grad is not None:
            response.gradient.CopyFrom(_message(answer.grad))
        return response


def _message(tensor: Tensor) -> v1.Tensor:
    dtype = BY_NAME[str(tensor.dtype).removeprefix("torch.")].wire
    return v1.Tensor(dtype=dtype, shape=tensor.shape, data=bytes(as_bytes(tensor)))


def _tensor(message: v1.Tensor) -> Tensor:
    dtype = getattr(torch, BY_WIRE[message.dtype].name)
    return torch.frombuffer(bytearray(message.data), dtype=dtype).view(tuple(message.shape))


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    service = _Service()  # type: ignore[abstract]  # one method is enough here
    loss_service_pb2_grpc.add_LossServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    serve_until_left(port)
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
