"""A line in the log for each call, up to a limit of lines a second."""

import asyncio
import logging
import time

import grpc

WINDOW_SECONDS = 1.0

log = logging.getLogger(__name__)


class AccessLog:
    """Use it in the event loop.

    Args:
        per_second: The most calls that are written in a second; calls past the limit are counted. 0 writes none.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._window_start = -WINDOW_SECONDS
        self._written = 0
        self._left_out = 0

    def add(
        self,
        method: str,
        peer: str,
        code: grpc.StatusCode,
        received_bytes: int,
        sent_bytes: int,
        seconds: float,
        caller: str = "",
    ) -> None:
        """Logs a call that has ended, with the caller's name if the caller has one."""
        if not self._per_second or not log.isEnabledFor(logging.INFO):
            return
        if not self._has_room():
            self._leave_out()
            return
        self._written += 1
        log.info(
            "call",
            extra={
                "method": method,
                "peer": peer,
                "code": code.name,
                "received_bytes": received_bytes,
                "sent_bytes": sent_bytes,
                "milliseconds": round(seconds * 1000, 3),
                **({"caller": caller} if caller else {}),
            },
        )

    def tell_left_out(self) -> None:
        """Logs how many calls were left out since the last such line."""
        if self._left_out:
            log.info("calls left out", extra={"calls": self._left_out})
        self._left_out = 0

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now - self._window_start >= WINDOW_SECONDS:
            self._window_start, self._written = now, 0
        return self._written < self._per_second

    def _leave_out(self) -> None:
        if not self._left_out:
            asyncio.get_running_loop().call_later(WINDOW_SECONDS, self.tell_left_out)
        self._left_out += 1
