"""What the writer is asked for, and how those who wait are told."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Generic, NamedTuple, TypeVar

from losswire_server.runs.records import Entry
from losswire_server.runs.writing.tally import Outcome

T = TypeVar("T")


class Call(NamedTuple):
    """Entries of one caller, who waits for them in an event loop."""

    entries: Sequence[Entry]
    future: "asyncio.Future[list[Outcome]]"
    loop: asyncio.AbstractEventLoop


class Work(NamedTuple, Generic[T]):
    """Other work, which has transactions of its own."""

    work: Callable[[], T]
    future: "Future[T]"

    def do(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told of any
            self.fail(error)
        else:
            with contextlib.suppress(InvalidStateError):  # it was given up
                self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


def refuse(asked: Iterable[Call | Work[Any]], error: Exception) -> None:
    """Tells all who wait that nothing comes any more."""
    for one in asked:
        if isinstance(one, Work):
            one.fail(error)
        else:
            answer([one], [error] * len(one.entries))


def answer(calls: Iterable[Call], outcomes: Sequence[Outcome]) -> None:
    """Tells each caller of its entries; an event loop is woken once, whatever the number of its callers."""
    by_loop = defaultdict(list)
    first = 0
    for call in calls:
        last = first + len(call.entries)
        by_loop[call.loop].append((call.future, list(outcomes[first:last])))
        first = last
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Iterable[tuple["asyncio.Future[list[Outcome]]", list[Outcome]]]) -> None:
    for future, outcomes in answers:
        if not future.done():  # cancelled, or given up
            future.set_result(outcomes)
