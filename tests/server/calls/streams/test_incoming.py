"""What ends a silent stream for others ends nothing else."""

import asyncio
from contextlib import closing

import pytest

from losswire_server.calls import admission
from losswire_server.calls.admission import Admission
from losswire_server.calls.streams.incoming import Incoming
from losswire_server.errors import OverloadedError


async def ended_while(monkeypatch, *, message_comes):
    """What a stream gets that others have ended, and whose message may have come just before."""
    monkeypatch.setattr(admission, "SILENT_SECONDS", 0)
    bound, gate = Admission(10), asyncio.Event()
    held = bound.reservation()
    held.resize(10)

    async def messages():
        await gate.wait()
        yield b"it came"

    async def receive():
        with closing(Incoming(messages(), held)) as incoming:
            message = await incoming.next_or_end()
            await asyncio.sleep(0)  # whatever it asks for
            return message

    receiving = asyncio.create_task(receive())
    await asyncio.sleep(0)
    if message_comes:
        gate.set()
    with pytest.raises(OverloadedError):
        bound.reservation().resize(10)
    return await receiving


def test_silent_stream_is_ended_for_others(monkeypatch):
    with pytest.raises(OverloadedError, match="sent nothing for long"):
        asyncio.run(ended_while(monkeypatch, message_comes=False))


def test_message_that_came_before_the_end_is_not_cancelled(monkeypatch):
    assert asyncio.run(ended_while(monkeypatch, message_comes=True)) == b"it came"
