"""How much may be in flight. A request that does not fit is refused at once, with a time to try again.

In flight is all that callers make the server hold: what has arrived of a message, what its evaluation takes, and an
answer until its caller has read it.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from losswire_server.calls.limits import RETRY_MILLISECONDS, UNLIMITED, Account
from losswire_server.errors import OverloadedError, TooLargeError

SILENT_SECONDS = 10.0  # a stream that sends nothing for longer keeps its bytes only until others need them


class Admission:
    """Counts the bytes in flight, of all callers and of each. May be used from any thread."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._silent: dict[Reservation, _Silent] = {}

    @property
    def inflight_bytes(self) -> int:
        return self._bytes

    def reservation(self, account: Account | None = None) -> "Reservation":
        """A reservation, which holds nothing yet. Without an account there are no limits of the caller's own."""
        return Reservation(self, Account(UNLIMITED) if account is None else account)

    def most_bytes(self, account: Account) -> int:
        """The most bytes that a caller may have in flight."""
        return int(self.max_bytes * account.limits.share)

    def add(self, size: int, account: Account) -> None:
        """Adds bytes of a caller's, which are released by adding as many below zero.

        Raises:
            OverloadedError: They do not fit. If other callers are in the way that are silent, these are told to end.
        """
        with self._lock:
            if size > 0:
                self._check_fits(size, account)
            self._bytes += size
            account.bytes += size

    def add_held(self, size: int, account: Account) -> None:
        """Adds bytes that are there, whether they fit or not."""
        with self._lock:
            self._bytes += size
            account.bytes += size

    def check_fits(self, size: int, account: Account) -> None:
        """Checks whether `add` would succeed now.

        Raises:
            OverloadedError: As `add`.
        """
        with self._lock:
            self._check_fits(size, account)

    def begin_silence(self, held: "Reservation", end: Callable[[], object], seconds: float = 0.0) -> None:
        """Marks a caller as waited for. If that takes longer and others need its bytes, `end` is called once."""
        self._silent[held] = _Silent(self._clock(), seconds, end)

    def end_silent(self, missing: int) -> None:
        """Tells callers that have been silent for long to end, if others need so many bytes."""
        with self._lock:
            self._end_silent(missing)

    def end_silence(self, held: "Reservation") -> None:
        self._silent.pop(held, None)

    def _check_fits(self, size: int, account: Account) -> None:
        most = self.most_bytes(account)
        if account.bytes + size > most:
            self._end_silent(account.bytes + size - most, account)
            problem = f"{account.bytes} of at most {most} bytes of this caller's are in flight"
            raise OverloadedError(f"{problem}, and this needs {size} more", RETRY_MILLISECONDS, "caller_bytes")
        if self._bytes + size > self.max_bytes:
            self._end_silent(self._bytes + size - self.max_bytes)
            problem = f"{self._bytes} of at most {self.max_bytes} bytes are in flight, and this needs {size} more"
            raise OverloadedError(problem, RETRY_MILLISECONDS)

    def _end_silent(self, missing: int, account: Account | None = None) -> None:
        """Ends calls that have been silent for long, or those of one caller, until they held as much as is missing."""
        now = self._clock()
        for held, silent in sorted(self._silent.items(), key=lambda item: item[1].until):
            if missing <= 0 or now < silent.until:
                break
            if account is None or held.account is account:
                missing -= held.size
                del self._silent[held]
                silent.end()


class _Silent(NamedTuple):
    since: float
    seconds: float
    end: Callable[[], object]

    @property
    def until(self) -> float:
        """From then on others may need its bytes more."""
        return self.since + (self.seconds or SILENT_SECONDS)


class Reservation:
    """The bytes that one call holds. It grows and shrinks during the call; close it at the end.

    It never waits for more bytes while it holds some: two callers that waited could wait for each other.

    Attributes:
        account: Of the caller.
        size: Bytes held.
    """

    def __init__(self, admission: Admission, account: Account) -> None:
        self.account = account
        self.size = 0
        self._admission = admission

    def resize(self, size: int) -> None:
        """Holds that many bytes from now on.

        Raises:
            OverloadedError: They do not fit in addition to what is in flight; as many as before are held.
            TooLargeError: They would not fit even if nothing else were in flight.
        """
        if size != self.size:
            self._check_ever_fits(size)
            self._admission.add(size - self.size, self.account)
            self.size = size

    def hold(self, size: int) -> None:
        """Holds that many bytes from now on, which are there already, whether they fit or not."""
        self._admission.add_held(size - self.size, self.account)
        self.size = size

    def check_fits(self, size: int) -> None:
        """Checks whether `resize` would succeed now, for bytes that are announced and may never come.

        Raises:
            Exception: As `resize`.
        """
        self._check_ever_fits(size)
        self._admission.check_fits(size - self.size, self.account)

    def silence(self, end: Callable[[], object]) -> "Silence":
        """Marks the caller as waited for, while it is entered: see `Admission.begin_silence`."""
        return Silence(self._admission, self, end)

    def close(self) -> None:
        """Holds nothing any more."""
        self.hold(0)
        self._admission.end_silence(self)

    def _check_ever_fits(self, size: int) -> None:
        most = self._admission.most_bytes(self.account)
        if size > most:
            raise TooLargeError(f"this call needs {size} bytes, and a caller may have at most {most} in flight")


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
