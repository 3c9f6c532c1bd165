"""How the backend of a service starts and stops, with sockets or without."""

import asyncio
import threading
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry

import ce_engine
from losswire import v1
from losswire_server import Settings
from losswire_server.backend import Backend
from losswire_server.calls.evaluation import Caller
from losswire_server.in_process import InProcess
from losswire_server.settings.reading import WrongSettingsError
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.gate import gated
from tests.server.packs import small

CALLER = Caller(peer="unix:")
LARGE = 2**17  # so many elements are evaluated outside the event loop


@pytest.mark.parametrize("elements", [10, LARGE])
def test_in_process_service_sets_threads(monkeypatch, elements):
    def evaluate(*arguments: Any, **options: Any) -> ce_engine.RowResults:
        seen.append(torch.get_num_threads())
        return compute(*arguments, **options)

    seen: list[int] = []
    compute = ce_engine.cpu.evaluate
    replace_evaluation(monkeypatch, evaluate)
    for threads in (1, 3):
        service = InProcess(torch_threads=threads)
        service.call("Evaluate", small(rows=elements // 10).SerializeToString(), 20)
        service.close()
    assert seen == [1, 3]


def test_backend_stops_in_order():
    async def start_and_stop() -> list[str]:
        backend, seen = Backend(Settings(), CollectorRegistry()), []
        backend.start()

        async def stop_calls() -> None:
            seen.append("leases are over" if [lease async for lease in leases] == [] else "a lease goes on")
            seen.append(f"{len(await backend.service.Evaluate(request, CALLER)) > 0}")

        request = small(rows=LARGE // 10).SerializeToString()
        leases = backend.service.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=1), CALLER)
        await anext(leases)
        await backend.stop(stop_calls)
        with pytest.raises(ce_engine.EngineClosedError):
            await backend.service.Evaluate(request, CALLER)
        return seen

    assert asyncio.run(start_and_stop()) == ["leases are over", "True"]


def test_cancelled_stop_waits_for_no_slab(monkeypatch):
    async def start_and_stop() -> None:
        backend = Backend(Settings(engine_workers=1), CollectorRegistry())
        backend.start()
        calls = [asyncio.ensure_future(backend.service.Evaluate(request, CALLER)) for _ in range(9)]
        assert await asyncio.to_thread(gate.arrived.acquire, True, 20)
        stopping = asyncio.ensure_future(backend.stop(asyncio.Event().wait))
        await asyncio.sleep(0)
        stopping.cancel()
        opener = threading.Timer(0.2, gate.opened.set)  # a thread that computes cannot be stopped
        opener.start()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(end, ce_engine.EngineClosedError) for end in ends) == 8
        opener.join()

    request = small(rows=LARGE // 10).SerializeToString()
    with gated(monkeypatch) as gate:
        asyncio.run(start_and_stop())


def test_device_that_is_not_there_is_refused():
    with pytest.raises(WrongSettingsError, match="device: expected one that PyTorch can use, got cuda:99"):
        Backend(Settings(device="cuda:99"), CollectorRegistry())


@pytest.mark.parametrize("settings", [{"processes": 2}, {"device": "all"}])
def test_program_runs_one_process(settings):
    with pytest.raises(WrongSettingsError, match="processes: expected 1 within a program"):
        Backend(Settings(**settings), CollectorRegistry())
