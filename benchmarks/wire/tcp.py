"""Raw TCP over loopback: the cost of moving the bytes, with almost no protocol.

The client sends a header of 12 bytes, the target and the logits from where they lie. The server receives them into
memory that it has used before. When all is there it computes with PyTorch, and sends the loss, and the gradient from
where autograd left it. The client receives the gradient into memory that it has used before.
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from benchmarks.batch import Answer, Batch, Prepare, Run, as_bytes
from benchmarks.ways import torch_answer
from benchmarks.wire.serving import serve_until_left, serving

HEADER = struct.Struct("<IIHH")  # rows, classes, the dtype's number, whether to send the gradient
LOSS = struct.Struct("<d")
DTYPES = ("float32", "bfloat16")
SOCKET_BYTES = 2**18  # bytes under way stay in a cache: half the time of the megabytes that the kernel would allow


@contextmanager
def contestant() -> Iterator[Prepare]:
    with serving("benchmarks.wire.tcp") as port:
        yield partial(_client, port)


@contextmanager
def _client(port: int, batch: Batch) -> Iterator[Run]:
    logits, target = batch.tensors()
    grad = torch.empty_like(logits) if batch.grad else None
    parts = HEADER.pack(batch.rows, batch.classes, DTYPES.index(batch.dtype), batch.grad), as_bytes(target)
    loss = bytearray(LOSS.size)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        _set_options(connection)

        def run() -> Answer:
            connection.sendall(b"".join(parts))
            connection.sendall(as_bytes(logits))
            _receive(connection, memoryview(loss))
            if grad is not None:
                _receive(connection, as_bytes(grad))
            return Answer(LOSS.unpack(loss)[0], grad)

        yield run


class _Handler(socketserver.BaseRequestHandler):
    """One connection, which keeps its memory from one batch to the next of the same kind."""

    request: socket.socket

    def handle(self) -> None:
        _set_options(self.request)
        header, kind, tensors = bytearray(HEADER.size), b"", (torch.empty(0), torch.empty(0))
        while _receive(self.request, memoryview(header)):
            if header != kind:
                kind, tensors = bytes(header), _tensors(header)
            self._evaluate(*tensors, grad=bool(HEADER.unpack(header)[-1]))

    def _evaluate(self, logits: Tensor, target: Tensor, *, grad: bool) -> None:
        _receive(self.request, as_bytes(target))
        _receive(self.request, as_bytes(logits))
        answer = torch_answer(logits, target, grad=grad)
        self.request.sendall(LOSS.pack(answer.loss))
        if answer.grad is not None:
            self.request.sendall(as_bytes(answer.grad))


def _tensors(header: bytearray) -> tuple[Tensor, Tensor]:
    rows, classes, dtype, _ = HEADER.unpack(header)
    return torch.empty(rows, classes, dtype=getattr(torch, DTYPES[dtype])), torch.empty(rows, dtype=torch.int64)


def _set_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)


def _receive(connection: socket.socket, into: memoryview) -> bool:
    """Whether all bytes came; False if the other side has left."""
    while into:
        count = connection.recv_into(into)
        if not count:
            return False
        into = into[count:]
    return True


def main() -> None:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    serve_until_left(server.server_address[1])


if __name__ == "__main__":
    main()
