"""How much one caller may take, and what each caller takes now."""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from losswire_server.errors import Limit, OverloadedError, TooLargeError
from losswire_server.settings import Settings

RETRY_MILLISECONDS = 100
LEASE_RETRY_MILLISECONDS = 1000
BURST_SECONDS = 2.0  # a caller that has rested may send at once what it may send in this time


class CallerLimits(NamedTuple):
    """How much one caller may take: what the settings say, or what a token says of its own caller.

    Attributes:
        share: Of the bytes in flight, and of shared memory.
        requests: Calls under way at a time.
        streams: Of these, streams.
        leases: Regions of shared memory at a time.
        requests_per_second: Calls begun; 0 for any number.
        bytes_per_second: Received; 0 for any number.
    """

    share: float
    requests: int
    streams: int
    leases: int
    requests_per_second: float
    bytes_per_second: float

    @classmethod
    def of(cls, settings: Settings) -> "CallerLimits":
        return cls(*(getattr(settings, f"caller_{name}") for name in cls._fields))


UNLIMITED = CallerLimits(1.0, requests=2**31, streams=2**31, leases=2**31, requests_per_second=0, bytes_per_second=0)


class Rate:
    """What may be taken in a second, on average.

    Args:
        per_second: 0 for any amount.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = per_second * BURST_SECONDS
        self._at = clock() if per_second else 0.0

    def wait_seconds(self) -> float:
        """How long to wait until something may be taken again."""
        if not self._per_second:
            return 0.0
        self._fill()
        return max(0.0, (_LEAST - self._left) / self._per_second)

    def take(self, amount: float) -> None:
        """Takes an amount, which may be more than is left: what was sent cannot be taken back. The next ones wait."""
        if self._per_second:
            self._fill()  # else the time of a long rest would make up for what is taken after it
            self._left -= amount

    @property
    def is_full(self) -> bool:
        """Whether nothing is remembered of what was taken."""
        self._fill()
        return self._left >= self._per_second * BURST_SECONDS

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, self._per_second * BURST_SECONDS)
        self._at = now


_LEAST = 1e-9


class Account:
    """What one caller takes. Its bytes belong to `Admission`, the rest to the event loop.

    Attributes:
        bytes: In flight.
        requests: Calls under way.
        streams: Of these, streams.
        leases: Regions of shared memory.
        leased_bytes: Size of these regions.
    """

    def __init__(self, limits: CallerLimits = UNLIMITED, clock: Callable[[], float] = time.monotonic) -> None:
        self.bytes = self.requests = self.streams = self.leases = self.leased_bytes = 0
        self._clock = clock
        self.limit(limits)

    def limit(self, limits: CallerLimits) -> None:
        """Sets limits anew, which apply to what is taken from now on."""
        self.limits = limits
        self._request_rate = Rate(limits.requests_per_second, self._clock)
        self._byte_rate = Rate(limits.bytes_per_second, self._clock)

    @property
    def is_idle(self) -> bool:
        return (
            not (self.requests or self.bytes or self.leases) and self._request_rate.is_full and self._byte_rate.is_full
        )

    def begin(self, *, is_stream: bool) -> None:
        """Counts a call, which must `end`.

        Raises:
            OverloadedError: The caller has too many calls under way, or began too many lately.
        """
        self._check("calls", self.requests, self.limits.requests, "caller_requests")
        if is_stream:
            self._check("streams", self.streams, self.limits.streams, "caller_streams")
        self._check_rate(self._request_rate, "calls", self.limits.requests_per_second, "caller_requests_per_second")
        self._check_rate(self._byte_rate, "bytes", self.limits.bytes_per_second, "caller_bytes_per_second")
        self._request_rate.take(1)
        self.requests += 1
        self.streams += is_stream

    def end(self, *, is_stream: bool) -> None:
        self.requests -= 1
        self.streams -= is_stream

    def received(self, size: int) -> None:
        """Counts a message. What is too much delays the next call, and the next message of a stream."""
        self._byte_rate.take(size)

    async def rest(self) -> None:
        """Waits until the caller may send again. What a stream sends is not read before, so its caller waits too."""
        if seconds := self._byte_rate.wait_seconds():
            await asyncio.sleep(seconds)

    @contextmanager
    def leasing(self, size: int, most_bytes: int) -> Iterator[None]:
        """Counts a region while it is leased.

        Args:
            size: Of the region.
            most_bytes: That all callers together may lease.

        Raises:
            OverloadedError: The caller leases too many, or too many bytes.
            TooLargeError: It never may lease so many bytes.
        """
        most = int(most_bytes * self.limits.share)
        if size > most:
            raise TooLargeError(f"a region of {size} bytes can never be leased: a caller may lease at most {most}")
        self._check("regions", self.leases, self.limits.leases, "caller_leases")
        if self.leased_bytes + size > most:
            problem = f"this caller leases {self.leased_bytes} of at most {most} bytes, and this region has {size}"
            raise OverloadedError(problem, LEASE_RETRY_MILLISECONDS, "caller_leases")
        self.leases += 1
        self.leased_bytes += size
        try:
            yield
        finally:
            self.leases -= 1
            self.leased_bytes -= size

    @staticmethod
    def _check(what: str, count: int, most: int, limit: Limit) -> None:
        if count >= most:
            problem = f"this caller has {count} {what} under way, and may have {most}"
            raise OverloadedError(problem, RETRY_MILLISECONDS, limit)

    @staticmethod
    def _check_rate(rate: Rate, what: str, most: float, limit: Limit) -> None:
        seconds = rate.wait_seconds()
        if seconds:
            problem = f"this caller sent more than {most:g} {what} a second, on average over {BURST_SECONDS:g} seconds"
            raise OverloadedError(problem, max(1, round(seconds * 1000)), limit)


class Accounts:
    """The accounts of all callers, by their names. Use it in the event loop."""

    def __init__(self, limits: CallerLimits = UNLIMITED) -> None:
        self._limits = limits
        self._accounts: dict[Hashable, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def of(self, name: Hashable, limits: CallerLimits | None = None) -> Account:
        """The account of a caller, with limits of its own if it has some."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(limits or self._limits)
        elif limits is not None and account.limits != limits:
            account.limit(limits)
        return account

    def forget_idle(self) -> None:
        """Forgets callers that take nothing."""
        for name in [name for name, account in self._accounts.items() if account.is_idle]:
            del self._accounts[name]
