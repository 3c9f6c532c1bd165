"""The threads that read."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from losswire_server.runs.errors import StoreUnavailableError
from losswire_server.runs.writing.asked import Work, refuse

T = TypeVar("T")


class Readers:
    """So many threads that read. The program may end while one waits for a database that hangs.

    It waits for the threads of a ThreadPoolExecutor, whatever they do.
    """

    def __init__(self, count: int) -> None:
        self._asked: SimpleQueue[Work[Any] | None] = SimpleQueue()  # None ends a thread
        self._taken: list[Work[Any] | None] = [None] * count  # what each thread does
        self._lock = threading.Lock()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"losswire-runs-read-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def do(self, work: Callable[[], T]) -> "Future[T]":
        """Has work done, in the order in which it comes."""
        one: Work[T] = Work(work, Future())
        with self._lock:
            if self._is_closed:
                raise StoreUnavailableError("the store is closed")
            self._asked.put(one)
        return one.future

    def close(self) -> None:
        """Takes no more work. The threads end once they have done what has come."""
        with self._lock:
            self._is_closed = True
        for _ in self._threads:
            self._asked.put(None)

    def give_up(self) -> None:
        """Refuses all who wait."""
        left = [*self._drained(), *self._taken]
        refuse([one for one in left if one is not None], StoreUnavailableError("the store is closed"))
        self.close()  # again, since what ends the threads was taken out too

    def has_ended(self, until: float) -> bool:
        """Waits for the threads, until so late at most by ``time.monotonic``."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _drained(self) -> Iterator[Work[Any] | None]:
        with suppress(Empty):
            while True:
                yield self._asked.get_nowait()

    def _run(self, number: int) -> None:
        while (one := self._asked.get()) is not None:
            self._taken[number] = one
            one.do()
            self._taken[number] = one = None  # with what it has read
