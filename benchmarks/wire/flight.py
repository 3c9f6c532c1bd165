"""Arrow Flight, the peer for moving bytes: DoExchange with record batches of about 1 MB.

A row of logits is a fixed-size binary value, which holds any dtype (Arrow has no bfloat16), and record batches are
views of the tensors. The server computes each with PyTorch in place, while the next ones are on their way. If
gradients are asked for, it sends those of each record batch as they come. At the end it sends the loss. The client
gathers gradients in memory that it has used before.
"""

import json
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import torch
from pyarrow import flight
from torch import Tensor
from torch.nn import functional as F

from benchmarks.batch import Answer, Batch, Prepare, Run, as_bytes
from benchmarks.wire.serving import serve_until_left, serving

RECORD_BATCH_BYTES = 2**20
LOSS = struct.Struct("<d")


@contextmanager
def contestant() -> Iterator[Prepare]:
    with serving("benchmarks.wire.flight") as port:
        yield partial(_client, port)


@contextmanager
def _client(port: int, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    grad = torch.empty_like(logits) if batch.grad else None
    command = json.dumps({"rows": batch.rows, "classes": batch.classes, "dtype": batch.dtype, "grad": batch.grad})
    descriptor = flight.FlightDescriptor.for_command(command)
    with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:

        def run() -> Answer:
            writer, reader = client.do_exchange(descriptor)
            with writer:
                # In a thread, because gradients come back from the first rows on, and must be received meanwhile.
                thread = threading.Thread(target=_send, args=(writer, logits, target))
                thread.start()
                loss = _receive(reader, grad)
                thread.join()
            return Answer(loss, grad)

        yield run


def _send(writer: Any, logits: Tensor, target: Tensor) -> None:
    writer.begin(_schema(logits, target))
    rows = max(1, RECORD_BATCH_BYTES // (logits.shape[1] * logits.itemsize))
    for part in zip(torch.split(logits, rows), torch.split(target, rows), strict=True):
        writer.write_batch(_record_batch(*part))
    writer.done_writing()


def _receive(reader: Any, grad: Tensor | None) -> float:
    received, loss = 0, float("nan")
    into = None if grad is None else as_bytes(grad)
    for chunk in reader:
        if into is not None and chunk.data is not None:
            values = _values(chunk.data.column(0))
            into[received : received + len(values)] = values
            received += len(values)
        if chunk.app_metadata is not None:
            (loss,) = LOSS.unpack(chunk.app_metadata)
    return loss


class _Server(flight.FlightServerBase):  # type: ignore[misc]
    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:  # noqa: ARG002
        command = json.loads(descriptor.command)
        dtype, total, begun = getattr(torch, command["dtype"]), 0.0, False
        for chunk in reader:
            logits = torch.frombuffer(_values(chunk.data.column(0)), dtype=dtype).view(-1, command["classes"])
            target = torch.frombuffer(_values(chunk.data.column(1)), dtype=torch.int64)
            losses, grad = _evaluate(logits, target, 1 / command["rows"] if command["grad"] else None)
            total += float(losses.double().sum())
            if grad is not None:
                if not begun:
                    writer.begin(_schema(grad))
                    begun = True
                writer.write_batch(_record_batch(grad))
        if not begun:
            writer.begin(pa.schema([]))
        writer.write_metadata(LOSS.pack(total / command["rows"]))


def _evaluate(logits: Tensor, target: Tensor, grad_output: float | None) -> tuple[Tensor, Tensor | None]:
    if grad_output is None:
        return F.cross_entropy(logits, target, reduction="none"), None
    losses = F.cross_entropy(logits.requires_grad_(), target, reduction="none")
    (grad,) = torch.autograd.grad(losses, logits, torch.full_like(losses, grad_output))
    return losses.detach(), grad


def _schema(*tensors: Tensor) -> pa.Schema:
    return pa.schema([(str(number), _row_type(tensor)) for number, tensor in enumerate(tensors)])


def _record_batch(*tensors: Tensor) -> pa.RecordBatch:
    columns = [
        pa.Array.from_buffers(_row_type(tensor), len(tensor), [None, pa.py_buffer(as_bytes(tensor))])
        for tensor in tensors
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_schema(*tensors))


def _row_type(tensor: Tensor) -> pa.DataType:
    return pa.binary(tensor.stride(0) * tensor.itemsize)


def _values(column: Any) -> memoryview:
    return memoryview(column.buffers()[1]).cast("B")


def main() -> None:
    warnings.filterwarnings("ignore", "The given buffer is not writable")  # PyTorch warns; nobody writes to it
    torch.set_num_threads(1)  # the other core moves the bytes meanwhile
    with _Server("grpc://127.0.0.1:0") as server:
        serve_until_left(server.port)


if __name__ == "__main__":
    main()
