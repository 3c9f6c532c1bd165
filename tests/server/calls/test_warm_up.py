"""The first caller does not pay for what is done once, and finds no trace of how it was done."""

import asyncio
import urllib.error
import urllib.request

import pytest
import uvloop
from prometheus_client import CollectorRegistry

import ce_engine
from losswire.losses import LOSSES
from losswire.v1 import EvaluateRequest
from losswire_server import Server, Settings
from losswire_server.backend import Backend
from losswire_server.calls.warm_up import WarmUpError, warm_up
from tests.helpers import serving
from tests.replaced_evaluation import replace_evaluation


async def no_stream(messages, _):
    async for _ in messages:
        yield b""


def test_every_loss_is_evaluated_on_every_way():
    seen = []

    async def unary(data, _):
        request = EvaluateRequest.FromString(data)
        seen.append((str(request.spec.WhichOneof("loss")), request.input.shape[0]))

    async def stream(messages, _):
        seen.append(("stream", len([message async for message in messages])))
        yield b""

    asyncio.run(warm_up(unary, stream))
    assert seen == [each for name in LOSSES for each in ((name, 32), (name, 128), ("stream", 2))]


def test_fault_is_told_by_the_loss():
    async def unary(*_):
        raise RuntimeError("pages of advice") from OSError("the kernel is\nbroken")

    with pytest.raises(WarmUpError, match=r"^warm-up: cross_entropy failed: the kernel is\\nbroken$"):
        asyncio.run(warm_up(unary, no_stream))


def test_narrow_settings_are_no_fault():
    narrow = {"max_message_bytes": 4096, "slab_bytes": 4096, "max_inflight_bytes": 16384, "max_queue_rows": 1}
    with serving(**narrow, max_batch_rows=1, max_batch_bytes=0) as server:
        assert server.port


def test_it_is_bounded():
    async def unary(*_):
        await asyncio.sleep(600)

    with pytest.raises(WarmUpError, match=r"warm-up: cross_entropy was not evaluated within 0\.05 s"):
        asyncio.run(warm_up(unary, no_stream, seconds=0.05))


def test_it_can_be_cancelled():
    async def unary(*_):
        await asyncio.sleep(600)

    async def cancel():
        task = asyncio.ensure_future(warm_up(unary, no_stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_it_leaves_no_trace(caplog):
    with serving(access_log_per_second=1000) as server:
        samples = [sample for metric in server.registry.collect() for sample in metric.samples]
    counted = {sample.name for sample in samples if sample.value and sample.name.endswith(("_total", "_count", "_sum"))}
    assert counted == set()
    assert not [record for record in caplog.records if record.getMessage() == "call"]


def test_calls_are_counted_after_it():
    async def wait():
        registry = CollectorRegistry()
        backend = Backend(Settings(), registry)
        backend.start()
        await backend.warm_up()
        backend._count_launch(ce_engine.Launch(7, 2, [0.25, 0.5]))
        await backend.stop()
        assert registry.get_sample_value("losswire_launch_rows_sum") == 7
        waited = registry.get_sample_value("losswire_stage_seconds_sum", {"stage": "queue"})
        assert waited == 0.75  # of both slabs until their launch, however long that takes

    uvloop.run(wait())


def test_server_is_not_ready_before(monkeypatch):
    async def start():
        warm = asyncio.Event()
        server = Server(Settings(port=0, metrics_port=0), CollectorRegistry())
        monkeypatch.setattr(Backend, "warm_up", lambda _: warm.wait())
        starting = asyncio.ensure_future(server.start())
        await asyncio.sleep(0.05)
        health = f"http://127.0.0.1:{server.metrics_port}/healthz"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            await asyncio.to_thread(urllib.request.urlopen, health)
        assert not starting.done()
        assert server.port == 0  # it takes no calls
        warm.set()
        await starting
        assert (await asyncio.to_thread(urllib.request.urlopen, health)).status == 200
        await server.stop()

    uvloop.run(start())


def test_server_that_cannot_evaluate_does_not_start(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("illegal instruction")

    async def start():
        server = Server(Settings(port=0, metrics_port=0), CollectorRegistry())
        with pytest.raises(WarmUpError, match="warm-up: cross_entropy failed: illegal instruction"):
            await server.start()

    replace_evaluation(monkeypatch, fail)
    uvloop.run(start())
