"""What was known of runs a moment ago, for checks that need not be exact."""

import threading
import time
from collections.abc import Callable

from losswire_server.runs.database.heads import Head

SECONDS = 1.0
MOST = 1024


class Recent:
    """The rows of runs, read again after a second. May be used from several threads."""

    def __init__(self, read: Callable[[str], Head], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._found: dict[str, tuple[float, Head]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Head:
        with self._lock:
            until, head = self._found.get(name, (0.0, None))
        if head is None or self._clock() >= until:
            head = self._read(name)
            self._keep(name, head)
        return head

    def forget(self, name: str) -> None:
        with self._lock:
            self._found.pop(name, None)

    def _keep(self, name: str, head: Head) -> None:
        with self._lock:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[name] = (self._clock() + SECONDS, head)
