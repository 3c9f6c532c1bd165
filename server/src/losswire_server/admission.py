"""How much may be in flight: what does not fit is turned away at once, with a time to come back."""

import threading

from losswire_server.errors import OverloadedError, TooLargeError

RETRY_MILLISECONDS = 100


class Admission:
    """Counts the bytes of the requests being evaluated or waiting. May be used from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def inflight_bytes(self) -> int:
        return self._bytes

    def reserve(self, size: int) -> None:
        """Admits a request of that many bytes, which must be released later.

        Raises:
            OverloadedError: It does not fit beside what is in flight.
        """
        with self._lock:
            if self._bytes + size > self.max_bytes:
                raise OverloadedError(
                    f"{self._bytes} of at most {self.max_bytes} bytes are in flight, and this request has {size}",
                    RETRY_MILLISECONDS,
                )
            self._bytes += size

    def release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def reservation(self) -> "Reservation":
        """Of one caller, who holds nothing yet."""
        return Reservation(self)


class Reservation:
    """What one caller holds, which grows and shrinks while it goes on; to be closed once nothing is held."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0

    def resize(self, size: int) -> None:
        """Holds that many bytes from now on.

        Raises:
            OverloadedError: They do not fit beside what is in flight; as many as before are held.
            TooLargeError: They would not fit if nothing else were.
        """
        if size > self._admission.max_bytes:
            raise TooLargeError(
                f"this stream needs {size} bytes, and at most {self._admission.max_bytes} may be in flight"
            )
        if size > self._bytes:
            self._admission.reserve(size - self._bytes)
        else:
            self._admission.release(self._bytes - size)
        self._bytes = size

    def close(self) -> None:
        self.resize(0)
