"""The bytes that one stream holds, which change with what it has in flight."""

import asyncio
import time

from losswire_server.calls.admission import Reservation
from losswire_server.calls.streams.in_flight import InFlight
from losswire_server.calls.streams.whole import Whole
from losswire_server.errors import OverloadedError, TooLargeError

ARRIVING = 1  # message beside those that were taken in
RESULT_COPIES = 2  # of a slab: tensors, and the message that they are copied to
ROOM_SECONDS = 10.0  # that a stream waits for others to make room: to begin again would cost all of them more
LOOK_FOR_ROOM_SECONDS = 0.01
PATIENT_BYTES = 2**16  # held by a stream that may wait


class Room:
    """Holds what a stream needs for its next message, if there is room for it.

    Args:
        held: What the stream holds.
        whole: What it asks for.
        in_flight: Its slabs in flight.
    """

    def __init__(self, held: Reservation, whole: Whole, in_flight: InFlight) -> None:
        self._held = held
        self._whole = whole
        self._in_flight = in_flight
        self._header_bytes = 0

    def hold_header(self, size: int) -> None:
        """Holds the message with the header.

        Raises:
            OverloadedError: There is no room for it.
            TooLargeError: There never is.
        """
        self._header_bytes = size
        self._held.resize(size)

    async def hold_at_last(self, message_bytes: int) -> None:
        """Holds a message, perhaps after others have made room. Meanwhile the caller's next messages wait.

        A stream that holds much does not wait: two of them could wait for each other.

        Raises:
            OverloadedError: There is no room for it, although nothing of this stream is in flight.
            TooLargeError: There never is.
        """
        size = self._needed_bytes(message_bytes)
        end = time.monotonic() + (ROOM_SECONDS if self._held.size <= PATIENT_BYTES else 0.0)
        while True:
            try:
                return self._held.resize(size)
            except OverloadedError:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(LOOK_FOR_ROOM_SECONDS)

    def holds(self, message_bytes: int) -> bool:
        """Whether there is room for a message beside what is in flight. If so, it is held from then on."""
        if not self._in_flight.has_room(message_bytes):
            return False
        try:
            self._held.resize(self._needed_bytes(message_bytes))
        except (OverloadedError, TooLargeError):  # it fits later, when this stream holds less
            return False
        return True

    def give_back(self, message_bytes: int) -> None:
        """Gives back what is not needed any more, once a message's slab is answered."""
        self._held.resize(min(self._held.size, self._needed_bytes(message_bytes)))

    def _needed_bytes(self, message_bytes: int) -> int:
        slabs_bytes = self._in_flight.bytes + (1 + ARRIVING) * message_bytes
        results_bytes = RESULT_COPIES * self._whole.result_bytes(message_bytes)  # few slabs are evaluated at a time
        return max(self._header_bytes, self._whole.held_bytes) + slabs_bytes + results_bytes
