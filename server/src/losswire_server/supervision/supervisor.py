"""A server of several processes: started, watched and stopped together."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from losswire_server.metrics.http_server import MetricsServer
from losswire_server.metrics.processes import ProcessMetrics
from losswire_server.process.holding import held
from losswire_server.process.listening import Address
from losswire_server.process.stop_signal import StopSignal
from losswire_server.settings import Settings
from losswire_server.supervision.exposition import Exposition
from losswire_server.supervision.ledger import Families, Ledger
from losswire_server.supervision.place import Place
from losswire_server.supervision.plan import plan
from losswire_server.supervision.snapshot import families_of

ANSWER_SECONDS = 1.0  # that a process has to tell its metrics, before its last ones are shown
POLL_SECONDS = 1.0  # how much a process that is killed may have counted since it was last asked
STUCK_SECONDS = 20.0  # for what a process may still have to do after calls have ended

log = logging.getLogger(__name__)


async def supervise(settings: Settings, stop: StopSignal) -> int:
    """Serves with several processes until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        WrongSettingsError: They leave a process too little, or a process cannot serve.
        AddressError: A host is not an address of this machine, or this user may not listen on a port.
        OSError: A port is taken.
    """
    parts = plan(settings)
    with held(Address(settings.host, settings.port, "host", "port")) as port:
        supervisor = Supervisor(settings, [part.model_copy(update={"port": port}) for part in parts])
        return await supervisor.run(stop)


class Supervisor:
    """The processes of a server, and its endpoint of metrics. Make it in the event loop, and run it once.

    Args:
        settings: Those of the whole server.
        parts: Those of each process.

    Raises:
        AddressError: This machine or this user cannot listen where the metrics are to be.
        OSError: The port of the metrics is taken.
    """

    def __init__(self, settings: Settings, parts: Sequence[Settings]) -> None:
        self._settings = settings
        self._metrics = ProcessMetrics(lambda: sum(place.is_serving for place in self._places))
        self._ledger = Ledger(len(parts), settings.max_series, settings.series_idle_seconds)
        self._places = [Place(n, part, self._ledger, self._metrics.count_restart) for n, part in enumerate(parts)]
        self._has_served = self._stopping = False
        self._metrics_address = Address(settings.metrics_host, settings.metrics_port, "metrics_host", "metrics_port")
        exposition = Exposition(asyncio.get_running_loop(), self._collect, self._ledger.began)
        self._metrics_server = (
            MetricsServer(self._metrics_address, exposition, self._is_serving) if settings.metrics else None
        )

    async def run(self, stop: StopSignal) -> int:
        """Serves until SIGTERM or SIGINT. Returns the exit status.

        Raises:
            StartError: A process cannot serve, before all have once served.
        """
        if self._metrics_server:
            self._metrics_server.start()
        keeping = [asyncio.ensure_future(place.keep()) for place in self._places]
        others = [asyncio.ensure_future(self._serve()), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait([*keeping, *others], return_when=asyncio.FIRST_COMPLETED)
            for failed in (task for task in [*keeping, *others] if task.done()):
                failed.result()
            return await self._stop(keeping)
        finally:
            await self._end([*keeping, *others])

    async def _serve(self) -> None:
        """Tells that the server serves once all processes do, and keeps their metrics in case that they are killed."""
        told, *_ = await asyncio.gather(*(place.ready for place in self._places))
        self._has_served = True
        port = self._metrics_server.port if self._metrics_server else 0
        metrics = str(self._metrics_address._replace(port=port)) if port else None
        log.info("serving", extra={**told, "metrics": metrics, "processes": len(self._places)})
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._ask_metrics()

    async def _stop(self, keeping: "Sequence[asyncio.Future[None]]") -> int:
        """Has the processes finish what they have begun. Those that do not end in time are killed by our end."""
        drain, grace = self._settings.drain_seconds, self._settings.grace_seconds
        log.info("draining", extra={"drain_seconds": drain, "grace_seconds": grace})
        self._stopping = True
        for place in self._places:
            place.stop()
        _, late = await asyncio.wait(keeping, timeout=drain + grace + STUCK_SECONDS)
        log.log(logging.ERROR if late else logging.INFO, "stopped", extra={"killed": len(late)} if late else {})
        return 1 if late else 0

    async def _end(self, tasks: "Sequence[asyncio.Future[Any]]") -> None:
        for place in self._places:
            place.stop()
            place.kill()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self._metrics_server:
            self._metrics_server.close()  # here, since no thread may be left to be had

    async def _collect(self) -> Families:
        await self._ask_metrics()
        return self._ledger.total(families_of(self._metrics.registry.collect()))

    async def _ask_metrics(self) -> None:
        await asyncio.gather(*(place.ask_metrics(ANSWER_SECONDS) for place in self._places))

    def _is_serving(self) -> bool:
        return self._has_served and not self._stopping and any(place.is_serving for place in self._places)
