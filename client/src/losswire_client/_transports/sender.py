"""Sends whole requests: each alone, or several in one message."""

from collections.abc import Sequence

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._transports.packs import Outcome, fitting, is_small
from losswire_client._transports.served import Served
from losswire_client._transports.wire import Wire


class Sender:
    """Sends requests within the limits of a server.

    Args:
        served: What the server serves.
        coalesces: Whether small requests that are sent at the same time travel together.
    """

    def __init__(self, served: Served, *, coalesces: bool) -> None:
        self._served = served
        self._coalesces = coalesces

    async def send(self, request: v1.EvaluateRequest, wire: Wire, deadline: Deadline) -> v1.EvaluateResponse:
        if not self._coalesces:
            return await wire.evaluate(request, deadline)
        data = request.SerializeToString()
        if is_small(request, data):
            served = await self._served.get(wire, deadline)
            if served.max_batch_requests:
                return await wire.evaluate_with_others(data, served, deadline)
        return await wire.evaluate(request, deadline)

    async def send_together(self, requests: Sequence[bytes], wire: Wire, deadline: Deadline) -> list[Outcome]:
        """Sends requests in as few messages as the server's limits allow, one after another."""
        served = await self._served.get(wire, deadline)
        outcomes: list[Outcome] = []
        while left := requests[len(outcomes) :]:
            count = fitting((request, served) for request in left)
            outcomes += await wire.evaluate_together(left[:count], deadline)
        return outcomes
