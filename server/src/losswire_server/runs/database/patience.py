"""Connections to PostgreSQL that do not wait for an answer forever.

A database that is stopped, or whose disk hangs, keeps its connections alive and does not keep its own limits. Imported
only where psycopg is there.
"""

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

ANSWER_SECONDS = 40.0  # longer than what the database is told to wait for a statement and for a lock

T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes too long, or is given up: no more comes of it.

    Attributes:
        given_up: Is set once nobody waits for answers any more.
    """

    given_up = threading.Event()

    def wait(self, gen: Generator[Any, Any, T], *more: Any, **options: Any) -> T:
        return super().wait(self._in_time(gen, time.monotonic() + ANSWER_SECONDS), *more, **options)

    def _in_time(self, gen: Generator[Any, Any, T], until: float) -> Generator[Any, Any, T]:
        """The same steps. psycopg takes one in each tenth of a second in which nothing comes."""
        try:
            wanted = next(gen)
            while time.monotonic() < until and not self.given_up.is_set():
                wanted = gen.send((yield wanted))
        except StopIteration as end:
            answer: T = end.value
            return answer
        self.close()
        if self.given_up.is_set():
            raise psycopg.OperationalError("the database has not answered before the store was closed")
        raise psycopg.OperationalError(f"the database has not answered for {ANSWER_SECONDS:g} seconds")
