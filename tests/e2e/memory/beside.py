"""A well-behaved caller in a process of its own, as long as its standard input is open: small calls, one at a time."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import grpc

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from tests.e2e.memory.requests import request
from tests.processes import started

PAUSE_SECONDS = 0.01


class Company:
    """What the caller saw, once it has ended.

    Attributes:
        ends: How many calls ended with which code.
        longest: Seconds of the longest call.
        p99: Seconds that one call of a hundred took, or more.
    """

    ends: dict[str, int]
    longest: float
    p99: float


@contextmanager
def company(target: str) -> Iterator[Company]:
    seen = Company()
    command = [sys.executable, "-m", "tests.e2e.memory.beside", target]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        output = cast(IO[str], process.stdout)
        assert output.readline() == "calling\n"
        yield seen
        told, _ = process.communicate(timeout=60)
    vars(seen).update(json.loads(told))


def main(target: str) -> None:
    over = threading.Event()
    threading.Thread(target=_wait, args=(over,), daemon=True).start()
    with grpc.insecure_channel(target) as channel:
        stub = LossServiceStub(channel)
        seconds, ends = _calls(stub, request(32, 10), over)
    seconds.sort()
    told: dict[str, Any] = {"ends": ends, "longest": seconds[-1], "p99": seconds[len(seconds) * 99 // 100]}
    sys.stdout.write(json.dumps(told))


def _wait(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def _calls(stub: LossServiceStub, request: v1.EvaluateRequest, over: threading.Event) -> tuple[list[float], Any]:
    seconds: list[float] = []
    ends: dict[str, int] = {}
    while not over.wait(PAUSE_SECONDS) or not seconds:
        start = time.monotonic()
        try:
            stub.Evaluate(request, timeout=30)
            end = "OK"
        except grpc.RpcError as error:
            end = cast(grpc.Call, error).code().name
        seconds.append(time.monotonic() - start)
        ends[end] = ends.get(end, 0) + 1
        if len(seconds) == 1:
            sys.stdout.write("calling\n")
            sys.stdout.flush()
    return seconds, ends


if __name__ == "__main__":
    main(sys.argv[1])
