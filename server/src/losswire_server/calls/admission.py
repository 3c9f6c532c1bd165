"""How much may be in flight. A request that does not fit is refused at once, with a time to try again."""

import threading
import time
from collections.abc import Callable

from losswire_server.errors import OverloadedError, TooLargeError

RETRY_MILLISECONDS = 100
SILENT_SECONDS = 10.0  # a caller that sends nothing for longer keeps its bytes only until others need them


class Admission:
    """Counts the bytes of the requests being evaluated or waiting. May be used from any thread."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._silent: dict[Reservation, tuple[float, Callable[[], object]]] = {}  # the longest silent first

    @property
    def inflight_bytes(self) -> int:
        return self._bytes

    def reserve(self, size: int) -> None:
        """Admits a request of that many bytes, which must be released later.

        Raises:
            OverloadedError: It does not fit in addition to the requests in flight. Silent callers are told to end.
        """
        with self._lock:
            self._check_fits(size)
            self._bytes += size

    def check_fits(self, size: int) -> None:
        """Checks whether `reserve` would admit that many bytes now.

        Raises:
            OverloadedError: As `reserve`.
        """
        with self._lock:
            self._check_fits(size)

    def release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def reservation(self) -> "Reservation":
        """A reservation for one caller, which holds nothing yet."""
        return Reservation(self)

    def begin_silence(self, held: "Reservation", end: Callable[[], object]) -> None:
        """Marks a caller as waited for. If that takes long and others need its bytes, `end` is called once."""
        self._silent[held] = self._clock(), end

    def end_silence(self, held: "Reservation") -> None:
        self._silent.pop(held, None)

    def _check_fits(self, size: int) -> None:
        missing = self._bytes + size - self.max_bytes
        if missing > 0:
            self._end_silent(missing)
            problem = f"{self._bytes} of at most {self.max_bytes} bytes are in flight, and this request has {size}"
            raise OverloadedError(problem, RETRY_MILLISECONDS)

    def _end_silent(self, missing: int) -> None:
        """Ends callers that have been silent for long, until they hold as many bytes as are missing."""
        for held, (since, end) in list(self._silent.items()):
            if missing <= 0 or self._clock() - since < SILENT_SECONDS:
                break
            missing -= held.size
            del self._silent[held]
            end()


class Reservation:
    """The bytes that one caller holds. It grows and shrinks during the call; close it at the end.

    It never waits for more bytes while it holds some: two callers that waited could wait for each other.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def resize(self, size: int) -> None:
        """Holds that many bytes from now on.

        Raises:
            OverloadedError: They do not fit in addition to the requests in flight; as many as before are held.
            TooLargeError: They would not fit even if nothing else were in flight.
        """
        if size == self.size:
            return
        self._check_ever_fits(size)
        if size > self.size:
            self._admission.reserve(size - self.size)
        else:
            self._admission.release(self.size - size)
        self.size = size

    def check_fits(self, size: int) -> None:
        """Checks whether `resize` would succeed now, for bytes that are announced and may never come.

        Raises:
            Exception: As `resize`.
        """
        self._check_ever_fits(size)
        self._admission.check_fits(size - self.size)

    def silence(self, end: Callable[[], object]) -> "Silence":
        """Marks the caller as waited for, while it is entered: see `Admission.begin_silence`."""
        return Silence(self._admission, self, end)

    def close(self) -> None:
        self.resize(0)

    def _check_ever_fits(self, size: int) -> None:
        most = self._admission.max_bytes
        if size > most:
            raise TooLargeError(f"this call needs {size} bytes, and at most {most} may be in flight")


class Silence:
    """The times in which one caller is waited for. It may be entered any number of times, one after the other."""

    def __init__(self, admission: Admission, held: Reservation, end: Callable[[], object]) -> None:
        self._admission = admission
        self._held = held
        self._end = end

    def __enter__(self) -> None:
        self._admission.begin_silence(self._held, self._end)

    def __exit__(self, *_: object) -> None:
        self._admission.end_silence(self._held)
