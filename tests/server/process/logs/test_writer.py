"""Nobody waits for standard error, and what is not written is counted."""

import json
import logging
import os
import threading
import time

import pytest

from losswire_server.process.logs import output, rates
from losswire_server.process.logs.intake import MOST_WAITING, Intake
from losswire_server.process.logs.lines import Lines
from losswire_server.process.logs.rates import Rates
from losswire_server.process.logs.writer import Writer
from losswire_server.process.starting import CannotStartError
from tests.server.process.logs.records import LOGGER, logged


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def record(message: str, place: int) -> logging.LogRecord:
    return logging.LogRecord("losswire_server", logging.INFO, "path", place, message, (), None)


def fill(writing: int) -> int:
    os.set_blocking(writing, False)
    filled = 0
    try:
        while True:
            filled += os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
        return filled


def read(reading: int, size: int) -> bytes:
    read = b""
    while len(read) < size:
        read += os.read(reading, size - len(read))
    return read


def read_line(reading: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(reading, 1)
    return line


def drain(reading: int) -> None:
    while os.read(reading, 2**16):
        pass
    os.close(reading)


def test_full_pipe_keeps_nobody_waiting(pipe, monkeypatch):
    monkeypatch.setattr(rates, "MOST_IN_A_WINDOW", 10**6)
    reading, writing = pipe
    filled = fill(writing)
    intake = Intake(texts_of_errors=False)
    writer = Writer(intake, Lines(json=True, colors=False), os.dup(writing))  # its thread may outlive the pipe's ends
    writer.start()
    began = time.monotonic()
    for number in range(MOST_WAITING + 100):
        intake.handle(record("call", number % 100))
    writer.finish(0.2)
    assert time.monotonic() - began < 10
    assert 98 <= intake.take_left_out()["standard error is slow"] <= 100  # the writer may hold one, or the end
    assert set(read(reading, filled)) == {ord("x")}
    assert json.loads(read_line(reading))["event"] == "call"
    threading.Thread(target=drain, args=(os.dup(reading),), daemon=True).start()  # the writer's thread goes on


def test_slow_reader_gets_all_lines(pipe):
    reading, writing = pipe
    line = b"y" * 300_000 + b"\n"
    thread = threading.Thread(target=output.write, args=(writing, line))
    thread.start()
    assert read(reading, len(line)) == line
    thread.join()


def test_reader_that_left_loses_lines():
    reading, writing = os.pipe()
    os.close(reading)
    assert not output.write(writing, b"line\n")
    os.close(writing)


def test_waiting_for_room_is_bounded(pipe):
    _, writing = pipe
    fill(writing)
    began = time.monotonic()
    assert not output.write(writing, b"line\n", seconds=0.1)
    assert time.monotonic() - began < 10


def test_each_place_has_a_limit():
    now = 0.0
    limit = Rates(lambda: now)
    admitted = [limit.admit(record("call", place)) for place in (1, 2) for _ in range(30)]
    assert admitted == [True] * 20 + [False] * 10 + [True] * 20 + [False] * 10
    now = 1.0
    assert limit.admit(record("call", 1))


def test_calls_have_a_limit_of_their_own():
    limit = Rates(lambda: 0.0)
    call = logging.LogRecord("losswire_server.rpc.access_log", logging.INFO, "path", 1, "call", (), None)
    assert all(limit.admit(call) for _ in range(1000))


def test_left_out_records_are_told(capfd):
    def flood() -> None:
        for _ in range(1000):
            LOGGER.error("broken")

    lines = [json.loads(line) for line in logged(flood, capfd).splitlines()]
    broken = sum(line["event"] == "broken" for line in lines)
    told = sum(line["records"] for line in lines if line["event"] == "records left out")
    assert broken < 100
    assert broken + told == 1000


def test_start_without_threads_is_said_so(monkeypatch):
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(CannotStartError, match="threads: expected"):
        logged(lambda: None, FakeCapture())


class FakeCapture:
    def readouterr(self) -> None:
        """Nothing is captured."""
