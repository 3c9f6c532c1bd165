"""What a server serves, as far as a client knows."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import (
    InvalidArgumentError,
    NotServedError,
    OverloadedError,
    ResourceExhaustedError,
    StreamEndedError,
)
from losswire_client._transports.wire import Wire

T = TypeVar("T")

# A server that restarts may serve something else, and a client cannot see the restart: only calls under way fail. gRPC
# tells of connections, at a price. `grpc` polls in a thread for every channel, which forks have to stop. `grpc.aio`
# knows only the present state, where a restart between two calls leaves no trace. Neither sees a server behind a proxy,
# or the exchange of one of several servers. So the server's own word counts: the client asks again when the server
# refuses what it is known to take, and after a while anyhow, since it may take more than before.
KNOWN_SECONDS = 60.0


class Served:
    """Knows what the server serves. The first call that needs this asks for it.

    May be used from any thread.
    """

    def __init__(self) -> None:
        self._known: Capabilities | None = None
        self._until = 0.0  # by time.monotonic

    @property
    def known(self) -> Capabilities | None:
        """What is known without asking."""
        return self._known

    async def get(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """What the server serves, which may have been so some time ago."""
        known = self._known
        if known is not None and time.monotonic() < self._until:
            return known
        self._until = time.monotonic() + KNOWN_SECONDS  # others go on with what is known, while this one asks
        return await self.ask(wire, deadline)

    async def ask(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """What the server says now."""
        served = parse_capabilities(await wire.get_capabilities(deadline))
        self._until = time.monotonic() + KNOWN_SECONDS
        self._known = served
        return served

    def forget(self) -> None:
        """The server may be another from now on."""
        self._known = None

    async def trusting(self, attempt: Callable[[], Awaitable[T]], wire: Wire, deadline: Deadline) -> T:
        """What comes of an attempt that goes by what is known; of a second one, if that was no longer so."""
        known = self._known
        try:
            return await attempt()
        except (NotServedError, ResourceExhaustedError, InvalidArgumentError, StreamEndedError) as error:
            if known is None or not _may_be_of_limits(error) or not await self._has_changed(known, wire, deadline):
                raise
        return await attempt()

    async def _has_changed(self, known: Capabilities, wire: Wire, deadline: Deadline) -> bool:
        now = self._known
        if now is None or now == known:  # else another call has found out
            now = await self.ask(wire, deadline)
        return now != known


def _may_be_of_limits(refusal: Exception) -> bool:
    """Whether a server may refuse a call so because it was put together by the limits of another server."""
    if isinstance(refusal, InvalidArgumentError):
        return refusal.argument == "requests"  # more than a message may have
    return not isinstance(refusal, OverloadedError)
