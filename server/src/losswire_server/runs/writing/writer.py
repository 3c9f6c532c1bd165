"""The one thread that writes. Entries that come while it writes make up the next bundle."""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from losswire_server.runs.errors import StoreUnavailableError
from losswire_server.runs.records import Entry
from losswire_server.runs.writing.asked import Call, Work, answer, refuse
from losswire_server.runs.writing.tally import Outcome

MOST_ENTRIES = 1024  # of one bundle
# A bundle takes the interpreter's lock from the event loop for as long as some forty entries do. So a bundle waits for
# all callers who were there a moment ago, and for so long at most. One caller alone waits for nobody.
COMPANY_SECONDS = 0.010
PAUSE_SECONDS = 60.0  # after upkeep has failed

T = TypeVar("T")
Taken = list[Call] | Work[Any] | None

log = logging.getLogger(__name__)


class Writer:
    """Writes what comes, in its order.

    Args:
        write: Writes entries that are committed together, and returns once it is on disk.
        upkeep: Does a little of what is due without being asked for, and returns in how many seconds more is.
    """

    def __init__(self, write: Callable[[Sequence[Entry]], list[Outcome]], upkeep: Callable[[], float]) -> None:
        self._write = write
        self._upkeep = upkeep
        self._due = 0.0
        self._waiting: OrderedDict[object, Call | Work[Any]] = OrderedDict()  # by their futures
        self._work_count = 0  # of other work that waits
        self._company = 0  # callers for whom the next bundle waits
        self._changed = threading.Condition()
        self._is_closing = False
        self._taken: Taken = None  # what is being written
        self._thread = threading.Thread(target=self._run, name="losswire-runs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Takes no more. The thread ends once it has written what has come."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def has_ended(self, until: float) -> bool:
        """Waits for the thread, until so late at most by ``time.monotonic``."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Refuses all who wait, also for what is being written: whether that counts is not known."""
        with self._changed:
            taken = self._taken if isinstance(self._taken, list) else [self._taken] if self._taken else []
            left = [*taken, *self._waiting.values()]
            self._waiting.clear()
        refuse(left, StoreUnavailableError("the store is closed, and the database has not answered"))

    def add(self, entries: Sequence[Entry]) -> "asyncio.Future[list[Outcome]]":
        """Has entries written in the next bundle, for a caller in an event loop."""
        loop = asyncio.get_running_loop()
        call = Call(entries, loop.create_future(), loop)
        self._put(call)
        return call.future

    def leave(self, future: "asyncio.Future[list[Outcome]]") -> None:
        """Drops what `add` gave this future for, unless it is being written: its caller has left."""
        with self._changed:
            self._waiting.pop(future, None)

    def do(self, work: Callable[[], T]) -> "Future[T]":
        """Has work done between bundles."""
        one: Work[T] = Work(work, Future())
        self._put(one)
        return one.future

    def tend(self) -> None:
        """Has upkeep done now."""
        with self._changed:
            self._due = 0.0
            self._changed.notify()

    def _put(self, one: Call | Work[Any]) -> None:
        with self._changed:
            if self._is_closing:
                raise StoreUnavailableError("the store is closed")
            self._waiting[one.future] = one
            self._work_count += isinstance(one, Work)
            if self._has_company():
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait()
                if self._is_closing and not self._waiting:
                    return
                self._taken = self._take()
            self._do(self._taken)
            self._taken = None
            if time.monotonic() >= self._due:
                self._tend()

    def _wait(self) -> None:
        self._changed.wait_for(self._has_company, timeout=COMPANY_SECONDS)
        self._company = 0
        self._changed.wait_for(self._is_needed, timeout=max(0.0, self._due - time.monotonic()))

    def _has_company(self) -> bool:
        return len(self._waiting) >= self._company or self._work_count > 0 or self._is_closing

    def _is_needed(self) -> bool:
        return bool(self._waiting) or self._is_closing or time.monotonic() >= self._due

    def _take(self) -> Taken:
        if not self._waiting:
            return None
        _, first = self._waiting.popitem(last=False)
        if isinstance(first, Work):
            self._work_count -= 1
            return first
        bundle, count = [first], len(first.entries)
        while self._waiting and isinstance(following := next(iter(self._waiting.values())), Call):
            count += len(following.entries)
            if count > MOST_ENTRIES:
                break
            bundle.append(following)
            self._waiting.popitem(last=False)
        return bundle

    def _do(self, taken: Taken) -> None:
        match taken:
            case Work():
                taken.do()
            case list():
                self._write_bundle(taken)

    def _write_bundle(self, bundle: list[Call]) -> None:
        entries = [entry for call in bundle for entry in call.entries]
        try:
            outcomes = self._write(entries)
        except Exception as error:  # noqa: BLE001 - whoever waits is told of any
            outcomes = [error] * len(entries)
        with self._changed:
            present = len(bundle) + len(self._waiting)
            self._company = present if present > 1 else 0
        answer(bundle, outcomes)

    def _tend(self) -> None:
        try:
            self._due = time.monotonic() + self._upkeep()
        except Exception:
            log.exception("upkeep of runs failed")
            self._due = time.monotonic() + PAUSE_SECONDS
