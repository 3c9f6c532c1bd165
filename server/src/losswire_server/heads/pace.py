"""Whether a stream brings a head fast enough to keep others waiting."""

import time
from collections.abc import Callable

from losswire_server.errors import OverloadedError
from losswire_server.heads.uploads import RETRY_MILLISECONDS, Upload, Uploads

SECONDS, LEAST_BYTES = 10.0, 2**16  # in which it brings as many bytes, or the rest


class Pace:
    """How fast a stream fills an upload.

    One that sends nothing, or a byte now and then, may take forever. It ends once others need its place: another stream
    that waits to go on with the same upload, or one that was refused meanwhile.
    """

    def __init__(self, upload: Upload, uploads: Uploads, clock: Callable[[], float] = time.monotonic) -> None:
        self._upload = upload
        self._uploads = uploads
        self._clock = clock
        self._begin()

    @property
    def seconds_left(self) -> float:
        """Until it is looked at the next time."""
        return max(0.0, self._until - self._clock())

    def check(self) -> None:
        """Looks at it, after each message and once the time is over.

        Raises:
            OverloadedError: It is too slow, and others wait.
        """
        if self._upload.received_bytes - self._received_bytes < LEAST_BYTES and not self._upload.is_complete:
            if self.seconds_left:
                return
            if self._upload.waiting_count or self._uploads.refused_count > self._refused_count:
                problem = "this stream sent little or nothing for long, and others wait to register a head"
                raise OverloadedError(problem, RETRY_MILLISECONDS)
        self._begin()

    def _begin(self) -> None:
        self._until = self._clock() + SECONDS
        self._received_bytes = self._upload.received_bytes
        self._refused_count = self._uploads.refused_count
