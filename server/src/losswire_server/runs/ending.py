"""The end of the store's threads, within seconds, whatever the database does."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Protocol

CLOSE_SECONDS = 2.0  # for what was asked for before the end
NOTICE_SECONDS = 1.0  # for threads to notice that nobody waits for the database any more

log = logging.getLogger(__name__)


class Threads(Protocol):
    """One or more threads, which are daemons: the program may end before them."""

    def close(self) -> None:
        """Takes no more work. The threads end once they have done what has come."""

    def has_ended(self, until: float) -> bool:
        """Waits for the threads, until so late at most by ``time.monotonic``."""

    def give_up(self) -> None:
        """Refuses those who wait."""


def end(all_threads: Sequence[Threads], given_up: threading.Event) -> None:
    """Has threads do what was asked for, and gives up what the database does not answer in time.

    A thread that connects, or waits for a lock of SQLite's, notices it late, and is left alone.
    """
    for threads in all_threads:
        threads.close()
    if _have_ended(all_threads, CLOSE_SECONDS):
        return
    log.warning("the store of runs is given up", extra={"problem": "the database does not answer"})
    given_up.set()
    for threads in all_threads:
        threads.give_up()
    _have_ended(all_threads, NOTICE_SECONDS)


def _have_ended(all_threads: Sequence[Threads], seconds: float) -> bool:
    until = time.monotonic() + seconds
    return all(threads.has_ended(until) for threads in all_threads)
