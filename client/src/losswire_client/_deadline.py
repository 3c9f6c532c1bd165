"""How long a call may take in all."""

import time
from numbers import Real

from losswire_client._errors import invalid_argument, shown

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 365 * 86400.0
INTERVALS = 0.1, 3600  # between two looks at a run


class Deadline:
    """When a call must be over.

    Attributes:
        seconds: How long it may take in all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())


def checked_timeout(timeout: float) -> float:
    if not isinstance(timeout, Real) or not 0 < timeout <= MAX_TIMEOUT:
        problem = f"expected a number of seconds in (0, {MAX_TIMEOUT:.0f}], got {shown(timeout)}"
        raise invalid_argument("timeout", problem)
    return timeout


def checked_interval(interval: float) -> float:
    least, most = INTERVALS
    if not isinstance(interval, Real) or not least <= interval <= most:
        raise invalid_argument(
            "interval", f"expected a number of seconds from {least} to {most}, got {shown(interval)}"
        )
    return float(interval)
