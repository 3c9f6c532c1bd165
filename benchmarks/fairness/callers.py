"""Callers in a process of their own: ``python -m benchmarks.fairness.callers TARGET COUNT ROWS CLASSES TRANSPORT``.

Those that send unary messages have a connection each, others share one, as clients of one process do. Each line of
input is a number of seconds to call for, one call after another; the answer is a line with the seconds of all calls, in
JSON. Calls that the server sheds are made again, and not reported.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import cast

import grpc
import numpy as np

from losswire import v1
from losswire_client import Client, OverloadedError

EVALUATE = "/losswire.v1.LossService/Evaluate"
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
RETRY_SECONDS = 0.1
RNG = np.random.default_rng(0)

Call = Callable[[], object]


def request(rows: int, classes: int) -> bytes:
    """A request for the losses and the gradient of a batch."""
    logits, target = RNG.standard_normal((rows, classes), np.float32), RNG.integers(0, classes, rows)
    message = v1.EvaluateRequest()
    message.spec.cross_entropy.SetInParent()
    message.spec.reduction = v1.Reduction.REDUCTION_MEAN
    message.outputs.gradient.SetInParent()
    for tensor, array, dtype in (
        (message.input, logits, v1.Dtype.DTYPE_FLOAT32),
        (message.target, target, v1.Dtype.DTYPE_INT64),
    ):
        tensor.dtype = dtype
        tensor.shape.extend(array.shape)
        tensor.data = array.tobytes()
    return message.SerializeToString()


@contextmanager
def plain(target: str, rows: int, classes: int) -> Iterator[Call]:
    """A plain stub that sends the same bytes each time, and does not look at the answer."""
    data = request(rows, classes)
    with grpc.insecure_channel(target, OWN_CONNECTION) as channel:
        evaluate: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EVALUATE)
        yield partial(evaluate, data, timeout=60)


@contextmanager
def by_sdk(target: str, rows: int, classes: int, transport: str) -> Iterator[Call]:
    logits, classes_of_rows = RNG.standard_normal((rows, classes), np.float32), RNG.integers(0, classes, rows)
    with Client(target, transport=transport, timeout=60) as client:
        yield partial(client.cross_entropy, logits, classes_of_rows, grad=True)


class Callers:
    """So many callers, which call at the same time."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._threads = ThreadPoolExecutor(len(calls))

    def seconds_of_calls(self, seconds: float) -> list[float]:
        """Seconds of each call that is over in so many seconds."""
        end = time.perf_counter() + seconds
        each = self._threads.map(lambda call: list(_until(end, call)), self._calls)
        return [taken for of_one in each for taken in of_one]


def _until(end: float, call: Call) -> Iterator[float]:
    while (start := time.perf_counter()) < end:
        try:
            call()
        except OverloadedError:  # the client has tried again for long
            continue
        except grpc.RpcError as error:
            if cast(grpc.Call, error).code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            time.sleep(RETRY_SECONDS)
            continue
        now = time.perf_counter()
        if now < end:
            yield now - start


def main() -> None:
    target, transport = sys.argv[1], sys.argv[5]
    count, rows, classes = map(int, sys.argv[2:5])
    of_one = plain if transport == "unary" else partial(by_sdk, transport=transport)
    with ExitStack() as stack:
        callers = Callers([stack.enter_context(of_one(target, rows, classes)) for _ in range(count)])
        print(flush=True)
        for line in sys.stdin:
            print(json.dumps(callers.seconds_of_calls(float(line))), flush=True)


if __name__ == "__main__":
    main()
