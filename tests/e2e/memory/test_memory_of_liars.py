"""The server keeps within its budget though callers lie, stop in the middle, or do not read."""

import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, VARINT, tag, varint
from losswire_server import RunningServer
from tests.e2e.memory.requests import ALL_OUTPUTS, MIB, of_size, outputs, request
from tests.e2e.memory.watched import metric, promising
from tests.helpers import eventually
from tests.server.packs import packed
from trials.peers.frames import LARGEST_WINDOW, prefixed
from trials.peers.raw_caller import RawCaller

pytestmark = pytest.mark.slow


def each(server: RunningServer, count: int, do: Callable[[RawCaller], object], window: int = 65535) -> list[RawCaller]:
    """Connections that do the same at the same time, in threads of their own."""

    def one(caller: RawCaller) -> None:
        with suppress(OSError):  # the server may end the connection
            do(caller)

    callers = [RawCaller(server.target, window) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(one, callers))
    return callers


def close(callers: Sequence[RawCaller]) -> None:
    for caller in callers:
        caller.close()


def test_messages_that_never_end():
    message = prefixed(of_size(62).SerializeToString())

    def send(caller: RawCaller) -> None:
        caller.begin(1, "Evaluate")
        caller.send(1, message[: 60 * MIB])

    with promising() as server:
        callers = each(server, 15, send)
        time.sleep(1)
        close(callers)


def test_answers_that_nobody_reads():
    message = of_size(8, outputs=outputs(*ALL_OUTPUTS, grad="float32")).SerializeToString()

    def send(caller: RawCaller) -> None:
        caller.begin(1, "Evaluate")
        caller.send(1, prefixed(message), end=True)

    with promising(send_seconds=5) as server:
        callers = each(server, 24, send)
        eventually(lambda: metric(server, "losswire_inflight_bytes") > 8 * MIB)  # answers count until they are read
        eventually(lambda: metric(server, "losswire_inflight_bytes") == 0)  # their connections are ended
        eventually(lambda: all(caller.is_ended(1) for caller in callers))
        close(callers)


@pytest.mark.parametrize("announced", [63 * MIB, 2**31, 2**32 - 1])
def test_lengths_that_are_lies(announced):
    data = prefixed(bytes(MIB), announced)

    def send(caller: RawCaller) -> None:
        for stream in (1, 3):
            caller.begin(stream, "Evaluate", ("content-length", str(announced)))
            caller.send(stream, data)

    with promising() as server:
        callers = each(server, 64, send)
        time.sleep(0.5)
        close(callers)


def test_messages_longer_than_announced():
    def send(caller: RawCaller) -> None:
        caller.begin(1, "Evaluate")
        caller.send(1, prefixed(bytes(8 * MIB), 100), end=True)

    with promising() as server:
        close(each(server, 24, send))


def test_compressed_messages_that_expand():
    bomb = zlib.compress(bytes(1000 * MIB), 9)  # a thousandth of it

    def send(caller: RawCaller) -> None:
        caller.begin(1, "Evaluate", ("grpc-encoding", "deflate"))
        caller.send(1, b"\1" + prefixed(bomb)[1:], end=True)

    with promising() as server:
        callers = each(server, 8, send)
        time.sleep(1)
        close(callers)


def many_outputs() -> bytes:
    return request(32, 10).SerializeToString() + nested("outputs", bytes([1]) * (12 * 10**6))


def many_dimensions() -> bytes:
    return request(32, 10).SerializeToString() + nested("input", tag(2, LENGTH_DELIMITED) + sized(bytes(5 * 10**6)))


def unknown_fields() -> bytes:
    return request(32, 10).SerializeToString() + (tag(2047, VARINT) + b"\1") * (20 * MIB // 3)


def nested(field: str, data: bytes) -> bytes:
    number = v1.EvaluateRequest.DESCRIPTOR.fields_by_name[field].number
    inner = tag(1, LENGTH_DELIMITED) + sized(data) if field == "outputs" else data
    return tag(number, LENGTH_DELIMITED) + sized(inner)


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


@pytest.mark.parametrize("message", [many_outputs, many_dimensions, unknown_fields])
@pytest.mark.parametrize("method", ["Evaluate", "BatchEvaluate", "EvaluateStream"])
def test_messages_full_of_fields(message, method):
    data = message()
    if method == "BatchEvaluate":
        data = packed([data])
    elif method == "EvaluateStream":
        data = tag(1, LENGTH_DELIMITED) + sized(data)

    def send(caller: RawCaller) -> None:
        caller.begin(1, method)
        caller.send(1, prefixed(data), end=True)

    with promising() as server:
        callers = each(server, 6, send, LARGEST_WINDOW)
        eventually(lambda: all(caller.is_ended(1) for caller in callers))
        close(callers)


def test_calls_that_are_reset_once_their_message_has_come():
    """grpcio keeps such a message for good if the read of it was cancelled."""
    message = prefixed(of_size(8).SerializeToString())

    def send(caller: RawCaller) -> None:
        for stream in range(1, 61, 2):
            caller.begin(stream, "Evaluate")
            caller.send(stream, message, end=True)
            caller.reset(stream)

    with promising() as server:
        callers = each(server, 4, send)
        close(callers)


def test_calls_that_are_reset_at_once():
    """Not all streams of a connection are over when the next one begins."""
    message = prefixed(request(32, 10).SerializeToString())

    def send(caller: RawCaller) -> None:
        for stream in range(1, 4001, 2):
            caller.begin(stream, "Evaluate")
            caller.send(stream, message)
            caller.reset(stream)

    with promising() as server:
        callers = each(server, 4, send)
        time.sleep(0.5)
        close(callers)
