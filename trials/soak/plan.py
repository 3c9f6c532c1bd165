"""How long a soak is, and when its server is restarted or replaced."""

import signal
from typing import NamedTuple

LONG_ROUNDS = 30  # from which on there are restarts in the middle too, each followed by a life that is long enough


class Plan(NamedTuple):
    """The rounds of a soak. After each of them callers are quiet, and what processes hold is counted.

    Attributes:
        seconds: Of a round.
        rounds: How many.
        restarts: The signals that end the server in the middle of a round, by the number of the round.
        changes: The rounds before which the server is replaced by one that is served in the next way.
    """

    seconds: float
    rounds: int
    restarts: dict[int, signal.Signals]
    changes: tuple[int, ...]

    @classmethod
    def of(cls, minutes: float) -> "Plan":
        seconds = 10.0 if minutes >= 5 else 5.0
        rounds = max(10, round(60 * minutes / seconds))
        restarts = {1: signal.SIGTERM, 2: signal.SIGKILL}
        if rounds >= LONG_ROUNDS:
            restarts |= {rounds // 2: signal.SIGTERM, rounds // 2 + 1: signal.SIGKILL}
        return cls(seconds, rounds, restarts, (rounds // 3,))
