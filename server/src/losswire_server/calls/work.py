"""What the desk asks of the work of one message, and how much of it the event loop does itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import grpc

from losswire_server.requests.ends import End
from losswire_server.requests.needed import Reserve
from losswire_server.requests.planned import Step
from losswire_server.runs.absent import Outcome
from losswire_server.runs.records import Entry

AT_ONCE_SECONDS = 0.0005  # shorter work is done on the event loop: handing it to a thread takes half as long
READ_AT_ONCE_BYTES = 2**17  # larger messages are not even read on the event loop


def is_short(seconds: float) -> bool:
    """Whether what probably takes so many seconds may be done on the event loop."""
    return seconds < AT_ONCE_SECONDS


class TakesLongError(Exception):
    """Work on the event loop turned out to take long. It is done again elsewhere."""


class Work(Protocol):
    """The work that one message asks for, read and not yet planned."""

    @property
    def seconds(self) -> float:
        """Seconds that all of it probably takes."""

    @property
    def planning_seconds(self) -> float:
        """Seconds that `plan` probably takes."""

    @property
    def writing_seconds(self) -> float:
        """Seconds that `answer` probably takes."""

    def at_once(self) -> Iterator[End]:
        """Evaluates it on the event loop, and gives one end after the other.

        Raises:
            TakesLongError: It takes too long for the event loop.
        """

    def plan(self, reserve: Reserve) -> Iterator[Step]:
        """Plans it, once: gives slabs for the engine, and the ends of requests that are wrong.

        Args:
            reserve: Holds what requests take, before anything is allocated for them.
        """

    def entries(self) -> list[Entry]:
        """What its requests add to runs, once all of them have ended."""

    def settle(self, outcomes: Sequence[Outcome]) -> dict[int, grpc.StatusCode]:
        """Takes in what came of each of these entries. Returns the codes of requests that fail by them, by number.

        Raises:
            Exception: That of the only request, if its entry was refused.
        """

    def answer(self) -> bytes:
        """The message that answers it, once all its requests have ended and their entries are settled."""


Read = Callable[[bytes], Work]
