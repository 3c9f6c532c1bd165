"""How long to wait before a process is started again."""

LONG_SECONDS = 60.0  # a process that has served so long has not died of its start
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class Backoff:
    """The pauses before one process's starts: none after a long life, and longer ones with each short life."""

    def __init__(self) -> None:
        self._short_lives = 0

    def pause(self, served_seconds: float) -> float:
        """Seconds to wait after the end of a process that has served so long."""
        self._short_lives = 0 if served_seconds >= LONG_SECONDS else self._short_lives + 1
        if self._short_lives < 2:
            return 0.0
        return min(FIRST_PAUSE * 2.0 ** min(self._short_lives - 2, 10), LONGEST_PAUSE)
