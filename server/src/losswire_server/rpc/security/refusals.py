"""Refused callers, in the metrics and in the log."""

import logging
import time
from collections.abc import Callable

from losswire_server.metrics.security import Refusal, SecurityMetrics

WINDOW_SECONDS = 10.0  # in which there is one line in the log, however many callers are refused

log = logging.getLogger(__name__)


class Refusals:
    """Use it in the event loop."""

    def __init__(self, metrics: SecurityMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._untold = 0
        self._next = clock()

    def add(self, reason: Refusal, peer: str) -> None:
        """Counts a call that was refused, and logs it unless one was logged a moment ago."""
        self._metrics.count_refused(reason)
        self._untold += 1
        now = self._clock()
        if now >= self._next:
            log.warning("unknown callers refused", extra={"calls": self._untold, "reason": reason, "last_peer": peer})
            self._untold, self._next = 0, now + WINDOW_SECONDS
