"""Turns of large messages on the event loop, so that each step of a small call waits for one of them.

The event loop copies every message that comes or leaves. If large messages of many calls are ready, it copies all of
them before the next step of a small call, which takes several steps.
"""

import asyncio
from collections import deque

LARGE_BYTES = 2**17  # of messages that need turns: others are copied in less time than a turn costs
# A turn ends after this at the latest, since a caller that is slow must not hold up others.
MESSAGE_SECONDS = 0.005  # for one of many messages
CALL_SECONDS = 0.1  # for all of a call with one message: that and the answer may have 64 MB, which take long to copy


class Turns:
    """One turn after the other, in the order in which they were asked for. Use it in the event loop."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, seconds: float) -> "Turn":
        """Waits for a turn, which ends by itself after so many seconds."""
        if self._is_taken:
            await self._wait()
        self._is_taken = True
        return Turn(self, seconds)

    async def _wait(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():  # the turn came, and nobody is there to take it
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Gives the turn that is over to the next."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._is_taken = False


class Turn:
    """One turn."""

    def __init__(self, turns: Turns, seconds: float) -> None:
        self._turns: Turns | None = turns
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Ends it, if it has not ended yet."""
        turns, self._turns = self._turns, None
        if turns is not None:
            self._timer.cancel()
            turns.pass_on()


class OwnTurns:
    """The turns of one call, which needs them as long as its messages are large. End them with it."""

    def __init__(self, turns: Turns, seconds: float) -> None:
        self._turns = turns
        self._seconds = seconds  # of each at most
        self._turn: Turn | None = None
        self._needs_turns = False

    async def next(self) -> None:
        """Ends the last turn, and waits for the next one if the last message was large."""
        self.end()
        if self._needs_turns:
            self._turn = await self._turns.take(self._seconds)

    def learn(self, message_bytes: int) -> None:
        """Takes notice of the size of a message."""
        self._needs_turns = message_bytes > LARGE_BYTES

    def end(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()
