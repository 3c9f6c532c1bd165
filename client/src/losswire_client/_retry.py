"""When to retry a failed call. Evaluations are pure, and one with a key counts once, so a retry is always safe."""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from numbers import Real
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_none,
    wait_random_exponential,
)

from losswire_client._calls import checks_construction
from losswire_client._deadline import Deadline
from losswire_client._errors import (
    CallCancelledError,
    LosswireError,
    OverloadedError,
    StreamEndedError,
    UnavailableError,
    invalid_argument,
    plain,
    shown,
)
from losswire_client._tracing.active import note_retry

# Conditions that may pass before a retry. A server cancels calls that reach it in its last moments, and streams of a
# server that is killed end midway.
PASSING = (UnavailableError, OverloadedError, CallCancelledError, StreamEndedError)

T = TypeVar("T")

NEWS_SECONDS = 10.0
_last_news = -math.inf

log = logging.getLogger("losswire_client")


@checks_construction
@dataclass(frozen=True, kw_only=True)
class Retry:
    """How long, and how often, a call is tried again when no server can be reached or the server has too much to do.

    The pauses grow, and are random, so that callers do not come back together. If the server says how long to wait, no
    pause is shorter. No call is tried again past its deadline.

    Attributes:
        seconds: How long after its first failure a call may be tried again: a restart takes some seconds.
        first_pause: Upper bound of the first pause, in seconds. The bounds of later pauses are larger.
        longest_pause: Upper bound of all pauses, in seconds, unless the server says otherwise.
    """

    seconds: float = 30.0
    first_pause: float = 0.1
    longest_pause: float = 1.0

    def __post_init__(self) -> None:
        for name in ("seconds", "first_pause", "longest_pause"):
            value = getattr(self, name)
            if not _is_positive(value):
                raise invalid_argument(f"retry.{name}", f"expected more than 0, got {shown(value)}")


def _is_positive(value: object) -> bool:
    try:
        return isinstance(value, Real) and float(value) > 0
    except OverflowError:  # an integer with more digits than a float can have
        return False


class Retries:
    """The retries of one call.

    Args:
        retry: How to retry; None for no retry.
        deadline: Deadline of the call with all its pauses.
        before_retry: Called before each pause.
        sleep: Pauses for some seconds.
    """

    def __init__(
        self,
        retry: Retry | None,
        deadline: Deadline,
        before_retry: Callable[[], object],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._deadline = deadline
        self._before_retry = before_retry
        self._sleep = sleep
        self._seconds = retry.seconds if retry else 0.0
        self._backoff = wait_random_exponential(retry.first_pause, retry.longest_pause) if retry else wait_none()

    async def go_on(self, attempt: Callable[[], Awaitable[T]], failure: Exception) -> T:
        """Retries an attempt that has failed once. Calls that succeed at once never come here, and pay nothing."""
        failures = [failure]

        async def try_again() -> T:
            if failures:
                raise failures.pop()
            return await attempt()

        retrying = AsyncRetrying(
            sleep=self._sleep,
            retry=retry_if_exception_type(PASSING),
            wait=self._pause,
            stop=self._is_too_late,
            before_sleep=self._tell,
            reraise=True,
        )
        answer: T = await retrying(try_again)
        return answer

    def _pause(self, state: RetryCallState) -> float:
        error = _error(state)
        told = error.retry_seconds if isinstance(error, LosswireError) else 0.0
        return told + self._backoff(state)

    def _is_too_late(self, state: RetryCallState) -> bool:
        left = min(self._deadline.remaining(), self._seconds - (state.seconds_since_start or 0.0))
        return state.upcoming_sleep >= left

    def _tell(self, state: RetryCallState) -> None:
        level = logging.WARNING if _is_news() else logging.DEBUG
        seconds = plain(min(self._seconds, self._deadline.seconds))
        log.log(level, "trying again for up to %s seconds: %s", seconds, _error(state))
        note_retry(_error(state), state.upcoming_sleep)
        self._before_retry()


def _is_news() -> bool:
    """Whether there was no warning for a while. A failure mostly meets many calls, again and again."""
    global _last_news
    now = time.monotonic()
    told, _last_news = now < _last_news + NEWS_SECONDS, now
    return not told


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
