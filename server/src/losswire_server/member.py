"""One of the processes that are a server together."""

from losswire_server.metrics.http_server import MetricsServer
from losswire_server.process.stop_signal import StopSignal
from losswire_server.server import Server
from losswire_server.settings import Settings
from losswire_server.supervision.link import Link
from losswire_server.supervision.snapshot import to_json


class Member(Server):
    """A server that shares its port. The supervisor holds the port, tells that all serve, and shows their metrics.

    Args:
        settings: Its part of the server's.
        link: Leads to the supervisor.
        stop: Gets the supervisor's word that the whole server stops, as if it were a signal.
        place: Its number among the processes.
    """

    _shares_port = True

    def __init__(self, settings: Settings, link: Link, stop: StopSignal, place: int) -> None:
        super().__init__(settings)
        self._place = place
        self._link = link
        self._stop_signal = stop
        self._others_stop = False

    async def stop(self) -> None:
        await super().stop()
        self._tell_metrics()  # the last ones

    def _stop_with_others(self) -> None:
        self._others_stop = True
        self._stop_signal.received = True

    def _tell_metrics(self) -> None:
        metrics = list(self.registry.collect())
        losses = self._backend.losses  # has all series of the metrics
        self._link.send({"metrics": to_json(metrics, losses.began, losses.used)})

    def _check_address(self) -> None:
        """Does nothing: the supervisor has checked it, and holds the port."""

    def _make_metrics_server(self) -> MetricsServer | None:
        self._link.listen({"metrics": self._tell_metrics, "stop": self._stop_with_others})
        return None

    def _tell(self) -> None:
        self._link.send({"ready": self._told()})
        if not self._place:  # once for all
            self._entrance.warn()

    def _drain_seconds(self) -> float:
        """None while others serve: new calls find them at once if this one's connections end."""
        return super()._drain_seconds() if self._others_stop else 0.0
