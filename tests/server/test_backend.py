"""How the backend of a service starts and stops, with sockets or without."""

import asyncio
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry

import losswire_server.calls.unary
from losswire import v1
from losswire_server import Settings
from losswire_server.backend import Backend
from losswire_server.in_process import InProcess
from tests.server.packs import small


class Caller:
    def peer(self) -> str:
        return "unix:"


CALLER: Any = Caller()
LARGE = 2**17  # so many elements are evaluated outside the event loop


@pytest.mark.parametrize("elements", [10, LARGE])
def test_in_process_service_sets_threads(monkeypatch, elements):
    def evaluate(*_: object) -> v1.EvaluateResponse:
        seen.append(torch.get_num_threads())
        return v1.EvaluateResponse()

    seen: list[int] = []
    monkeypatch.setattr(losswire_server.calls.unary, "evaluate", evaluate)
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
        with pytest.raises(RuntimeError, match="after shutdown"):
            await backend.service.Evaluate(request, CALLER)
        return seen

    assert asyncio.run(start_and_stop()) == ["leases are over", "True"]
