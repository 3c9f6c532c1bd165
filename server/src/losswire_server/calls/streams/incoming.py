"""The messages of one stream, whose caller may be silent for long."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from losswire_server.calls.admission import Reservation
from losswire_server.calls.limits import RETRY_MILLISECONDS
from losswire_server.errors import OverloadedError


class Incoming:
    """Takes messages one by one, in the task that answers them. Close it at the end.

    Args:
        messages: Of the stream.
        held: What the stream holds, which other callers may need while this one is silent.
    """

    def __init__(self, messages: AsyncIterator[bytes], held: Reservation) -> None:
        self._messages = messages
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._ahead: asyncio.Future[bytes | None] | None = None
        self._silence = held.silence(self._end_for_others)
        self._is_waiting = self._ended_for_others = False

    async def next(self) -> bytes | None:
        """The next message; None after the last. A task of its own would cost as much as a small slab."""
        ahead, self._ahead = self._ahead, None
        return await (anext(self._messages, None) if ahead is None else ahead)

    def ahead(self) -> "asyncio.Future[bytes | None]":
        """The message that `next` will give. It is received while the caller of this method does something else."""
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(anext(self._messages, None))
        return self._ahead

    async def next_or_end(self) -> bytes | None:
        """As `next`, for a stream that does nothing else meanwhile.

        Raises:
            OverloadedError: Others need the memory that this stream holds.
        """
        self._is_waiting = True
        try:
            with self._silence:
                return await self.next()
        except asyncio.CancelledError:
            if not self._ended_for_others:
                raise
            self._task.uncancel()
            problem = "this stream sent nothing for long, and other callers need the memory that it holds"
            raise OverloadedError(problem, RETRY_MILLISECONDS) from None
        finally:
            self._is_waiting = False

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()

    def _end_for_others(self) -> None:
        self._task.get_loop().call_soon_threadsafe(self._end_silence)

    def _end_silence(self) -> None:
        if self._is_waiting:  # else a message came in the meantime, and what it asks for must not be cancelled
            self._ended_for_others = True
            self._task.cancel()
