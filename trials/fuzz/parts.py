"""Inputs of several parts, such as a stream's messages, as the bytes of one message with a repeated field."""

from collections.abc import Sequence

from losswire.wire import LENGTH_DELIMITED, read_fields, tag, varint

MOST = 64  # parts

PREFIX = tag(1, LENGTH_DELIMITED)


def joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(PREFIX + varint(len(part)) + part for part in parts)


def cut(data: bytes) -> list[bytes]:
    """The parts of an input. Bytes that follow no part are one more, so that all bytes are inputs."""
    parts: list[bytes] = []
    try:
        for _, _, value in read_fields(memoryview(data), "input", MOST):
            if isinstance(value, memoryview):
                parts.append(bytes(value))
    except ValueError:
        parts.append(data[-64:])
    return parts
