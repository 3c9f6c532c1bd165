"""Watchers of the health service, one of which does not read."""

import asyncio

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from losswire_server.rpc.health_service import HealthService

SECONDS = 20


class Watcher:
    """What the service needs of a call, and what it was told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[int] = asyncio.Queue()

    async def write(self, answer: HealthCheckResponse) -> None:
        await self.told.put(answer.status)


class Stuck(Watcher):
    """Reads nothing, and lets the server send nothing ahead."""

    async def write(self, _: HealthCheckResponse) -> None:
        await asyncio.Event().wait()


def test_watcher_that_does_not_read_holds_up_nobody():
    async def watch() -> None:
        health, watchers = HealthService(), [Stuck(), Watcher()]
        watching = [asyncio.ensure_future(health.Watch(HealthCheckRequest(), each)) for each in watchers]
        assert await watchers[1].told.get() == HealthCheckResponse.SERVING
        await health.enter_graceful_shutdown()
        assert await watchers[1].told.get() == HealthCheckResponse.NOT_SERVING
        health.end_watches()
        await asyncio.gather(*watching)

    asyncio.run(asyncio.wait_for(watch(), SECONDS))


def test_watcher_is_told_of_each_service_once():
    async def watch() -> None:
        health, watcher = HealthService(), Watcher()
        watching = asyncio.ensure_future(health.Watch(HealthCheckRequest(service="a"), watcher))
        assert await watcher.told.get() == HealthCheckResponse.SERVICE_UNKNOWN
        await health.set("b", HealthCheckResponse.SERVING)
        await health.set("a", HealthCheckResponse.SERVING)
        assert await watcher.told.get() == HealthCheckResponse.SERVING
        await health.set("a", HealthCheckResponse.SERVING)
        await health.set("a", HealthCheckResponse.NOT_SERVING)
        assert await watcher.told.get() == HealthCheckResponse.NOT_SERVING
        health.end_watches()
        await watching
        assert watcher.told.empty()

    asyncio.run(asyncio.wait_for(watch(), SECONDS))
