"""One evaluation: the bytes that are in flight for it, what reader threads do for it, and its slabs in the engine."""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, Generic, NamedTuple, TypeVar

import ce_engine
from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.limits import RETRY_MILLISECONDS, Account
from losswire_server.errors import OverloadedError
from losswire_server.requests.permission import ANYTHING, Permission
from losswire_server.settings.sizes import MESSAGE_COPIES
from losswire_server.tracing.recording import NOTHING, Recording

T = TypeVar("T")


def _take_no_turns() -> None:
    """For calls that take no turns."""


# In which grpcio reports that a caller has left, on a busy machine too, after it reported the end of the messages.
LEAVING_SECONDS = 0.25


class Caller(NamedTuple):
    """Who calls.

    Attributes:
        name: Whose slabs take turns with those of other names.
        deadline: When the call is over, by ``time.monotonic``; None if it may take any time.
        account: What the caller takes; None if nobody counts it.
        peer: The other end of the connection, as gRPC names it.
        permission: What the caller may ask for.
        recording: Notes what happens to the call, for its trace.
        end_turn: Lets other calls on, since this one waits for something slow.
    """

    name: Hashable = None
    deadline: float | None = None
    account: Account | None = None
    peer: str = ""
    permission: Permission = ANYTHING
    recording: Recording = NOTHING
    end_turn: Callable[[], None] = _take_no_turns

    def check_deadline(self) -> None:
        """Checks whether the caller still waits, so that nothing is done for one that does not.

        Raises:
            DeadlineExceededError: Its deadline has passed.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise ce_engine.DeadlineExceededError("the caller's deadline passed before its turn")

    async def check_leaving(self) -> None:
        """Gives a caller whose messages end too early the time to have left, which cancels the call.

        Raises:
            DeadlineExceededError: Its deadline has passed.
        """
        await asyncio.sleep(LEAVING_SECONDS)
        self.check_deadline()


ANYBODY = Caller()


class Workplace(NamedTuple):
    """Where evaluations are done.

    Attributes:
        admission: What they hold.
        readers: Threads that read large messages, and plan what they ask for.
        engine: Evaluates their slabs.
    """

    admission: Admission
    readers: Executor
    engine: ce_engine.Engine


class Evaluation:
    """One evaluation of a caller's. Close it at the end.

    Attributes:
        held: The bytes that are in flight for it.
        recording: Notes what happens to it.
    """

    def __init__(self, workplace: Workplace, caller: Caller) -> None:
        self.held = workplace.admission.reservation(caller.account)
        self.recording = caller.recording
        self._workplace = workplace
        self._caller = caller
        self._closed = False
        self._unknown_bytes = 0  # held for what the message may ask for, until that is known
        self._under_way: set[Future[Any]] = set()

    def hold_message(self, size: int) -> None:
        """Holds a message of so many bytes, and what it probably needs, so that none that follows takes this.

        Raises:
            Exception: See `Reservation.resize`.
        """
        most = self._workplace.admission.most_bytes(self.held.account)
        self._unknown_bytes = max(0, min((MESSAGE_COPIES - 1) * size, most - size))
        self.held.resize(size + self._unknown_bytes)

    def reserve(self, size: int) -> None:
        """Holds so many bytes more, in place of what was not known.

        Raises:
            Exception: See `Reservation.resize`.
        """
        self.held.resize(self.held.size - self._unknown_bytes + size)
        self._unknown_bytes = 0

    async def read(self, work: Callable[[], T]) -> T:
        """Does work that is not for the event loop in a reader's thread, unless the caller leaves before its turn.

        Raises:
            DeadlineExceededError: The caller's deadline passed before its turn.
            EngineClosedError: The server stops.
        """
        errand = _Errand(work, self._caller)
        try:
            future = self._workplace.readers.submit(errand)
        except RuntimeError as error:
            raise ce_engine.EngineClosedError("the readers have ended") from error
        future.add_done_callback(errand.drop)
        await all_done([self._track(future)])
        return ended(future)

    def submit(self, slab: ce_engine.Slab, then: Callable[[Any, float], T]) -> "Future[T]":
        """Queues a slab. May be called in a reader's thread, even after the evaluation was closed.

        Raises:
            OverloadedError: Too many rows wait, or too many of this caller's.
            EngineClosedError: The server stops.
        """
        caller, then = self._caller, self.recording.launching(slab.row_count, then)
        try:
            future = self._workplace.engine.submit(slab, caller=caller.name, deadline=caller.deadline, then=then)
        except ce_engine.QueueFullError as error:
            raise OverloadedError(str(error), RETRY_MILLISECONDS, "queue_rows") from error
        self._track(future)
        if self._closed:  # checked after the future is tracked: either this cancels it, or `close` has
            future.cancel()
        return future

    def close(self) -> None:
        """Cancels what waits, and releases the bytes, which stay in use until what is being done is over."""
        self._closed = True
        for future in list(self._under_way):
            future.cancel()
        _release(self.held, self._under_way)

    def _track(self, future: "Future[T]") -> "Future[T]":
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future


class _Errand(Generic[T]):
    """Work for a reader, whose queue keeps errands that were cancelled. It drops the work, with the message in it."""

    def __init__(self, work: Callable[[], T], caller: Caller) -> None:
        self._work: Callable[[], T] | None = work
        self._caller = caller

    def __call__(self) -> T:
        self._caller.check_deadline()
        if self._work is None:
            raise asyncio.CancelledError("its caller has left")
        return self._work()

    def drop(self, _: "Future[Any]") -> None:
        self._work = None


def _release(held: Reservation, under_way: set["Future[Any]"]) -> None:
    """Releases the bytes once nothing is under way. It holds no evaluation, so that no future keeps one alive."""
    for future in list(under_way):
        if not future.done():
            future.add_done_callback(lambda _: _release(held, under_way))
            return
    held.close()


def all_done(futures: "Iterable[Future[Any]]") -> "asyncio.Future[None]":
    """Is done when all of them are, whatever came of them. The event loop wakes up once."""
    loop, waiting = asyncio.get_running_loop(), [future for future in futures if not future.done()]
    done, left = loop.create_future(), iter(range(len(waiting) - 1, -1, -1))

    def count_down(_: "Future[Any]") -> None:
        if next(left) == 0:  # one thread at a time gets a number
            loop.call_soon_threadsafe(_wake, done)

    for future in waiting:
        future.add_done_callback(count_down)
    if not waiting:
        done.set_result(None)
    return done


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def ended(future: "Future[T]") -> T:
    """What came of a slab, or of work in a thread, for a caller that has not left.

    Raises:
        EngineClosedError: The server stops, and has cancelled it.
        Exception: Its error.
    """
    if future.cancelled():
        raise ce_engine.EngineClosedError("it was cancelled")
    return future.result()
