"""The server's process does not grow with the length of a stream."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.frames import REQUESTS, RESPONSES
from losswire_server import RunningServer, launch
from tests.server.calls.raw_streams import PATH
from tests.server.requests.stream_requests import FLOAT32, INT64, SUM

MIB = 2**20
CLASSES, ROWS = 1024, 256  # a slab of 1 MiB
ROOM = 17 * MIB  # 16, and a slab

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells how much it takes")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with launch() as running:
        pass_through(running, 64, grad=True)  # a warm-up, after which the server has its working memory
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("grad", [False, True], ids=["losses", "gradients"])
@pytest.mark.parametrize("slabs", [128, 4096])
def test_server_does_not_grow_by_a_stream(server, slabs, grad):
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # forgets its peak
    before = memory(server, "VmRSS")
    pass_through(server, slabs, grad=grad)
    assert memory(server, "VmHWM") - before < ROOM < slabs * MIB


def pass_through(server: RunningServer, slabs: int, *, grad: bool) -> None:
    with grpc.insecure_channel(server.target, [("grpc.max_receive_message_length", -1)]) as channel:
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(PATH)
        for answer in call(messages(slabs, grad=grad)):
            last = answer
    summary = RESPONSES.read(last)
    assert isinstance(summary, v1.EvaluateResponse)
    assert summary.row_count == slabs * ROWS
    assert summary.loss_sum == pytest.approx(summary.row_count * np.log(CLASSES))


def messages(slabs: int, *, grad: bool) -> Iterator[bytes]:
    """A batch of so many slabs, all of the same zeros."""
    spec = v1.LossSpec(reduction=SUM, cross_entropy=v1.CrossEntropy())
    request = v1.EvaluateRequest(spec=spec, outputs=v1.OutputSpec(gradient=v1.GradientSpec() if grad else None))
    request.input.MergeFrom(v1.Tensor(dtype=FLOAT32, shape=[slabs * ROWS, CLASSES]))
    request.target.MergeFrom(v1.Tensor(dtype=INT64, shape=[slabs * ROWS]))
    yield v1.EvaluateStreamRequest(header=request).SerializeToString()
    payloads = {"target": memoryview(bytes(8 * ROWS)), "input": memoryview(bytes(MIB))}
    for i in range(slabs):
        yield REQUESTS.write(i * ROWS, ROWS, payloads)


def memory(server: RunningServer, name: str) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(kibibytes) * 1024
