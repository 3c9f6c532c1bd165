"""What HTTP/2 and gRPC put around bytes, as wrong as a caller wants it.

Frames: RFC 9113. Messages: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from functools import cache

import hpack
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from losswire.v1 import loss_service_pb2

SERVICE = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
USUAL_WINDOW, LARGEST_WINDOW = 2**16 - 1, 2**31 - 1
FRAME_BYTES = 2**14  # the most that a server takes unless it says more
CANCEL = 8  # of the codes with which a call is reset


def call_headers(method: str) -> list[tuple[str, str]]:
    """The headers of a call of the service."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/{SERVICE}/{method}"),
        (":authority", "losswire"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]


def prefixed(data: bytes, announced: int | None = None) -> bytes:
    """A message behind its prefix, which announces its own length unless told another."""
    return b"\0" + (len(data) if announced is None else announced).to_bytes(4, "big") + data


def begun(stream: int, method: str, message: bytes | None = None) -> bytes:
    """The frames that begin a call on any connection, and those of its message."""
    begin = HeadersFrame(stream, _block(method), flags=["END_HEADERS"]).serialize()
    return begin if message is None else begin + data_frames(stream, prefixed(message), ends=True)


@cache
def _block(method: str) -> bytes:
    """Headers that are not in HPACK's table afterwards, so that the block is right anywhere."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*header) for header in call_headers(method)])


def data_frames(stream: int, data: bytes, *, ends: bool = False) -> bytes:
    """The frames of some bytes of a call."""
    frames = [DataFrame(stream, data[at : at + FRAME_BYTES]) for at in range(0, len(data), FRAME_BYTES)]
    if ends:
        frames[-1].flags.add("END_STREAM")
    return b"".join(frame.serialize() for frame in frames)


def reset(stream: int) -> bytes:
    """The frame by which a caller leaves a call."""
    return RstStreamFrame(stream, error_code=CANCEL).serialize()
