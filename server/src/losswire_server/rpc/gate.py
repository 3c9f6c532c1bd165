"""Closes the service to new calls while calls under way go on.

gRPC's core cancels calls that reach it when it already stops, as if their callers had left. So new calls are first
refused with a status that tells callers to go elsewhere, until hardly any come.
"""

import asyncio
import time

from ce_engine import EngineClosedError

QUIET_SECONDS = 0.1  # without a new call, and none is probably on its way; on a busy machine one took over 0.05
LONGEST_SECONDS = 1.0  # to wait for that: some callers try again at once, and for ever


class Gate:
    """Use it in the event loop."""

    def __init__(self) -> None:
        self._closed = False
        self._last_call = 0.0

    def enter(self) -> None:
        """Lets a new call through.

        Raises:
            EngineClosedError: The gate is closed.
        """
        if self._closed:
            self._last_call = time.monotonic()
            raise EngineClosedError("the server stops")

    async def close(self, seconds: float) -> None:
        """Closes it, and waits until few calls come, or for so many seconds."""
        self._closed = True
        now = self._last_call = time.monotonic()
        latest = now + min(seconds, LONGEST_SECONDS)
        # A loop, since it is the absence of calls that is waited for.
        while (until := min(self._last_call + QUIET_SECONDS, latest)) > time.monotonic():  # noqa: ASYNC110
            await asyncio.sleep(until - time.monotonic())
