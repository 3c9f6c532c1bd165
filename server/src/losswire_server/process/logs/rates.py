"""A limit on how often each place in the code logs: callers must not be able to fill a disk with what they do wrong."""

import logging
import time
from collections.abc import Callable

WINDOW_SECONDS = 1.0
MOST_IN_A_WINDOW = 20
LIMITED_ELSEWHERE = "losswire_server.rpc.access_log"  # by a setting
MOST_PLACES = 1000

Place = tuple[str, int, str, int]


class Rates:
    """Use it by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._window_start = clock()
        self._counts: dict[Place, int] = {}

    def admit(self, record: logging.LogRecord) -> bool:
        """Whether a record is within the limit of the place that logs it."""
        if record.name == LIMITED_ELSEWHERE:
            return True
        now = self._clock()
        if now - self._window_start >= WINDOW_SECONDS:
            self._window_start = now
            self._counts.clear()
        place = (record.name, record.levelno, record.pathname, record.lineno)
        count = self._counts.get(place, 0)
        if count >= MOST_IN_A_WINDOW or len(self._counts) >= MOST_PLACES:
            return False
        self._counts[place] = count + 1
        return True
