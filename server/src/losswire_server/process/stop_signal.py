"""The signals that tell the server to stop."""

import asyncio
import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK_SECONDS = 0.1


class StopSignal:
    """Notes SIGTERM or SIGINT within a ``with`` block of the main thread, to be acted on between steps of the start.

    Nothing is interrupted: libraries that are being loaded, or a gRPC server that is being started, would be torn down
    half-made. A second signal has its ordinary effect, and ends the process at once.

    Attributes:
        received: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "StopSignal":
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    async def wait(self) -> None:
        """Waits until a signal has come."""
        while not self.received:  # noqa: ASYNC110 - uvloop can miss a signal that comes while the loop sets up
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal calls it
        if self.received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = True
