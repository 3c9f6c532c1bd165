"""Large launches on a CPU, whose pieces idle workers of an engine take too."""

import threading
from collections.abc import Callable

from ce_engine.cpu import Launch

PIECES_AT_ONCE = 4  # of a helper, about a millisecond: then it looks whether somebody waits


class SharedLaunch:
    """A launch that one worker leads, and others help with. Results do not depend on who evaluates which piece."""

    def __init__(self, launch: Launch) -> None:
        launch.share()
        self._launch = launch
        self._helpers = 0
        self._changed = threading.Condition()
        self._error: Exception | None = None

    def join(self) -> None:
        """Announces a helper, who then calls `help`. The leader waits for all who are announced."""
        with self._changed:
            self._helpers += 1

    def help(self) -> bool:
        """Evaluates some pieces. Returns whether there may be more."""
        try:
            return self._launch.take(PIECES_AT_ONCE)
        except MemoryError:
            return False  # there is too little for one more thread: it has taken no piece, and others take all
        except Exception as error:  # noqa: BLE001 - the leader raises it
            self._error = error
            return False
        finally:
            with self._changed:
                self._helpers -= 1
                self._changed.notify()

    def lead(self) -> None:
        """Evaluates all pieces that nobody else takes."""
        self._launch.take()

    def wait(self) -> None:
        """Waits for helpers, who may still evaluate pieces. Nobody may join any more.

        Raises:
            Exception: What a helper met with.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._helpers)
        if self._error is not None:
            raise self._error


class Sharing:
    """The launches that need help, for the threads of one engine."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake  # idle workers
        self._launches: list[SharedLaunch] = []
        self._lock = threading.Lock()

    @property
    def is_wanted(self) -> bool:
        """Whether a launch needs help."""
        return bool(self._launches)

    def run(self, alone: Launch) -> None:
        """Evaluates a launch with the help of idle workers."""
        launch = SharedLaunch(alone)
        with self._lock:
            self._launches.append(launch)
        self._wake()
        try:
            launch.lead()
        finally:
            self._end(launch)
            launch.wait()

    def help(self) -> None:
        """Helps with the launch that was helped the longest ago, if one needs help, for about a millisecond."""
        launch = self._joined()
        if launch is not None and not launch.help():
            self._end(launch)

    def _joined(self) -> SharedLaunch | None:
        with self._lock:
            if not self._launches:
                return None
            launch = self._launches.pop(0)
            self._launches.append(launch)
            launch.join()
            return launch

    def _end(self, launch: SharedLaunch) -> None:
        with self._lock:
            if launch in self._launches:
                self._launches.remove(launch)
