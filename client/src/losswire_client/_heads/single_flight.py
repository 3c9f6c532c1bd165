"""Has one of a client's callers send a head, while the others wait."""

import threading
from concurrent.futures import Future

from losswire_client._deadline import Deadline
from losswire_client._errors import DeadlineExceededError
from losswire_client._transports.wire import Wire


class SingleFlight:
    """Heads that are on their way. May be used from any thread."""

    def __init__(self) -> None:
        self._under_way: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    async def begin(self, digest: str, wire: Wire, deadline: Deadline) -> bool:
        """Whether the caller is to send the head, and to `end` that. Else another caller has ended, well or not.

        Raises:
            DeadlineExceededError: The other caller takes longer.
        """
        with self._lock:
            if digest not in self._under_way:
                self._under_way[digest] = Future()
                return True
            others = self._under_way[digest]
        if not await wire.wait(others, deadline.remaining()):
            raise DeadlineExceededError("the head is still on its way from another caller of this client")
        return False

    def end(self, digest: str) -> None:
        """Lets the others go on."""
        with self._lock:
            done = self._under_way.pop(digest)
        done.set_result(None)
