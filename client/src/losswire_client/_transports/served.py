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
# can report the state of connections, at a price. `grpc` polls in a thread for every channel, which forks have to stop.
# `grpc.aio` knows only the present state, where a restart between two calls leaves no trace. Neither sees a server
# behind a proxy, or the exchange of one of several servers. So the client asks the server again when it refuses a call
# that it should take by its last answer. The client also asks again after a while, since the server may take more.
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
        """The server's last answer; None if there is none yet."""
        return self._known

    async def get(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """What the server serves, by an answer that may be some time old."""
        known = self._known
        if known is not None and time.monotonic() < self._until:
            return known
        self._until = time.monotonic() + KNOWN_SECONDS  # other calls use the old answer while this one asks
        return await self.ask(wire, deadline)

    async def ask(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """What the server says now."""
        served = parse_capabilities(await wire.get_capabilities(deadline))
        self._until = time.monotonic() + KNOWN_SECONDS
        self._known = served
        return served

    def forget(self) -> None:
        """Forgets the answer, since the next calls may reach another server."""
        self._known = None

    async def trusting(self, attempt: Callable[[], Awaitable[T]], wire: Wire, deadline: Deadline) -> T:
        """The outcome of an attempt that relies on the last answer. Attempts again if the answer was out of date."""
        known = self._known
        try:
            return await attempt()
        except (NotServedError, ResourceExhaustedError, InvalidArgumentError, StreamEndedError) as error:
            if known is None or not _may_be_of_limits(error) or not await self._has_changed(known, wire, deadline):
                raise
        return await attempt()

    async def _has_changed(self, known: Capabilities, wire: Wire, deadline: Deadline) -> bool:
        now = self._known
        if now is None or now == known:  # otherwise another call has asked already
            now = await self.ask(wire, deadline)
        return now != known


def _may_be_of_limits(refusal: Exception) -> bool:
    """Whether the reason for a refusal may be that the call was made by the limits of another server."""
    if isinstance(refusal, InvalidArgumentError):
        return refusal.argument == "requests"  # too many requests in a message
    return not isinstance(refusal, OverloadedError)
