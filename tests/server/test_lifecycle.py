"""How a server starts and stops within a program, whatever happens in between."""

import asyncio
import gc
import os
import signal
import socket
from typing import Any

import grpc
import pytest
import uvloop
from prometheus_client import CollectorRegistry

from losswire_server import Server, Settings
from losswire_server.process.listening import Address
from losswire_server.process.stop_signal import StopSignal
from losswire_server.settings.reading import WrongSettingsError


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def running() -> int:
    """The number of gRPC servers of this process that are still referenced."""
    return sum(type(each) is grpc.aio.Server for each in gc.get_objects())


def make(**settings: Any) -> Server:
    return Server(Settings(**{"port": 0, "metrics_port": 0, **settings}), CollectorRegistry())


async def fail_to_start(**settings: Any) -> str:
    before = running()
    try:
        await make(**settings).start()
    except OSError as error:
        assert running() == before  # while the event loop runs and the error is still there, with all its frames
        return str(error)
    raise AssertionError("it has started")


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
def test_taken_port_makes_no_grpc_server(setting, taken, monkeypatch):
    monkeypatch.setattr(Server, "_make_grpc_server", None)
    said = uvloop.run(fail_to_start(**{setting: taken}))
    assert f"{setting}: cannot listen on 127.0.0.1:{taken}; is another server there?" in said


def test_grpc_is_taken_down_if_too_late(taken, monkeypatch):
    monkeypatch.setattr(Address, "check", lambda _: None)  # as if the other server had come just after the check
    assert f"port: cannot listen on 127.0.0.1:{taken}" in uvloop.run(fail_to_start(port=taken))


def test_cancelled_start_leaves_nothing():
    async def start_and_cancel() -> None:
        before, server = running(), make()
        starting = asyncio.ensure_future(server.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert running() == before
        Address("127.0.0.1", server.port, "", "").check()

    uvloop.run(start_and_cancel())


def test_stopped_server_frees_its_ports():
    async def start_and_stop() -> None:
        before, server = running(), make()
        await server.start()
        await server.stop()
        assert running() == before
        for port in (server.port, server.metrics_port):
            Address("127.0.0.1", port, "", "").check()

    uvloop.run(start_and_stop())


def test_metrics_can_be_turned_off():
    async def start_and_stop() -> int:
        server = make(metrics=False, metrics_host="999.1.1.1")
        await server.start()
        await server.stop()
        return server.metrics_port

    assert uvloop.run(start_and_stop()) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_open_server_beyond_this_machine_does_not_start(host, caplog):
    async def start_and_stop(**settings: Any) -> None:
        server = make(host=host, **settings)
        await server.start()
        await server.stop()

    with pytest.raises(WrongSettingsError, match="host: expected TLS and known callers"):
        uvloop.run(start_and_stop())
    uvloop.run(start_and_stop(insecure=True))
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (warning.getMessage(), warning.missing) == ("open to other machines", "TLS, known callers")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_noted_at_once(number):
    with StopSignal() as stop:
        os.kill(os.getpid(), number)
        assert stop.received
        uvloop.run(stop.wait())


def test_signal_ends_the_wait():
    async def wait(stop: StopSignal) -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 20)

    with StopSignal() as stop:
        uvloop.run(wait(stop))


def test_second_signal_ends_the_process(monkeypatch):
    before, raised = signal.getsignal(signal.SIGTERM), []
    monkeypatch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
    with StopSignal():
        os.kill(os.getpid(), signal.SIGINT)
        assert raised == []
        os.kill(os.getpid(), signal.SIGTERM)
    assert raised == [(signal.SIGTERM, signal.SIG_DFL)]
    assert signal.getsignal(signal.SIGTERM) is before
