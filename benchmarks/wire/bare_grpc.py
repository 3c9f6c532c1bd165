"""The time that grpcio itself takes: raw messages, nothing parsed or checked, no work handed to threads.

The server is asyncio, as Losswire's, with the same event loop and malloc. A stream has messages of 1 MB, and each is
evaluated where it arrives with the same engine. A unary call is evaluated only the first time that its message comes;
then its answer is remembered. Anything faster needs another gRPC library.
"""

import asyncio
import json
import struct
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import torch
import uvloop
from torch import Tensor

import ce_engine
from benchmarks.batch import Answer, Batch, Prepare, Run, as_bytes
from benchmarks.wire.serving import serve_until_left, serving
from losswire_server.process.allocator import FreedMemory

STREAM, UNARY = "/bare/Stream", "/bare/Unary"
MESSAGE_BYTES = 2**20
SHAPE = struct.Struct("<qq")
LOSS = struct.Struct("<d")
KEPT_BYTES = 256 * 2**20
OPTIONS = [("grpc.max_receive_message_length", 2**31 - 1)]


@contextmanager
def stream() -> Iterator[Prepare]:
    with serving("benchmarks.wire.bare_grpc") as port:
        yield partial(_stream_client, port)


@contextmanager
def unary() -> Iterator[Prepare]:
    with serving("benchmarks.wire.bare_grpc") as port:
        yield partial(_unary_client, port)


@contextmanager
def _unary_client(port: int, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    if logits.dtype is not torch.float32 or batch.grad:
        raise NotImplementedError("only small batches are sent so")
    with grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        evaluate: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UNARY)

        def run() -> Answer:
            message = b"".join((SHAPE.pack(*logits.shape), as_bytes(target), as_bytes(logits)))
            return Answer(LOSS.unpack(evaluate(message))[0])

        yield run


@contextmanager
def _stream_client(port: int, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    grad = torch.empty_like(logits) if batch.grad else None
    command = json.dumps({"rows": batch.rows, "classes": batch.classes, "dtype": batch.dtype, "grad": batch.grad})
    with grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        evaluate: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(STREAM)

        def run() -> Answer:
            received, into = 0, None if grad is None else as_bytes(grad)
            loss = float("nan")
            for message in evaluate(_messages(logits, target), metadata=(("command", command),)):
                if len(message) == LOSS.size:
                    (loss,) = LOSS.unpack(message)
                elif into is not None:
                    into[received : received + len(message)] = message
                    received += len(message)
            return Answer(loss, grad)

        yield run


def _messages(logits: Tensor, target: Tensor) -> Iterator[bytes]:
    yield bytes(as_bytes(target))
    rows = max(1, MESSAGE_BYTES // (logits.shape[1] * logits.itemsize))
    for part in torch.split(logits, rows):
        yield bytes(as_bytes(part))


async def _stream(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    command = json.loads(dict(context.invocation_metadata())["command"])
    target = torch.frombuffer(await anext(messages), dtype=torch.int64)
    first, total, dtype = 0, 0.0, getattr(torch, command["dtype"])
    scale = torch.tensor(1 / command["rows"], dtype=torch.float64) if command["grad"] else None
    async for message in messages:
        logits = torch.frombuffer(message, dtype=dtype).view(-1, command["classes"])
        part = target[first : first + len(logits)]
        result = ce_engine.cross_entropy(logits, part, reduction="sum", grad=command["grad"], grad_output=scale)
        first, total = first + len(logits), total + result.loss_sum
        if result.grad is not None:
            yield bytes(as_bytes(result.grad))
    yield LOSS.pack(total / command["rows"])


_answers: dict[bytes, bytes] = {}


async def _unary(message: bytes, context: Any) -> bytes:  # noqa: ARG001
    if message not in _answers:
        rows, classes = SHAPE.unpack_from(message)
        target = torch.frombuffer(message, dtype=torch.int64, offset=SHAPE.size, count=rows)
        logits = torch.frombuffer(message, dtype=torch.float32, offset=SHAPE.size + target.nbytes)
        _answers[message] = LOSS.pack(ce_engine.cross_entropy(logits.view(rows, classes), target).loss)
    return _answers[message]


class _Handler(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method == UNARY:
            return grpc.unary_unary_rpc_method_handler(_unary)
        return grpc.stream_stream_rpc_method_handler(_stream)


async def _run() -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(serve_until_left, port)
    await server.stop(grace=None)


def main() -> None:
    warnings.filterwarnings("ignore", "The given buffer is not writable")  # PyTorch warns; nobody writes to it
    FreedMemory(KEPT_BYTES).keep()
    torch.set_num_threads(1)
    uvloop.run(_run())


if __name__ == "__main__":
    main()
