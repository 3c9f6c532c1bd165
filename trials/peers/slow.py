"""Connections and calls that are right, but slow, silent or left alone."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from hyperframe.frame import DataFrame, SettingsFrame

from losswire import v1
from trials.cases import cases
from trials.peers.attack import Effort, Place
from trials.peers.frames import data_frames, prefixed
from trials.peers.messages import announcing, request_of
from trials.peers.raw import SECONDS, Peer
from trials.peers.raw_caller import RawCaller

IDLE = 3000  # connections
STREAMS = 400  # that are left open
SENT, OF = 60 * 2**20, 63 * 2**20
SENDERS = 15
KEPT_FOR_OTHERS = 400  # descriptors


def slow_writers(place: Place, effort: Effort) -> int:
    """Calls whose message comes byte by byte."""
    data = prefixed(request_of(cases(0, ((32, 10),), 1)[0]))
    with _peers(place, effort.part(100)) as peers:
        frames = [DataFrame(1, data[at : at + 1]).serialize() for at in range(len(data))]
        for peer in peers:
            peer.send(peer.headers(1))
        for frame in frames:
            if not effort.remaining:
                break
            for peer in peers:
                peer.send(frame)
            time.sleep(0.01)
        return len(peers)


def slow_readers(place: Place, effort: Effort) -> int:
    """Calls whose callers never open a window for the answer."""
    data = prefixed(request_of(cases(0, ((256, 1000),), 1)[0]))
    with _peers(place, effort.part(50), {SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as peers:
        for peer in peers:
            peer.send(peer.headers(1) + data_frames(1, data))
        time.sleep(effort.remaining)
        return len(peers)


def half_closed(place: Place, effort: Effort) -> int:
    """Calls whose connection is closed in one direction, in the middle of a message or before it."""
    tries = 0
    while effort.remaining:
        with Peer.of(place) as peer:
            data = prefixed(bytes(1000))[: effort.rng.choice((0, 3, 5, 500, 1005))]
            method = effort.rng.choice(("Evaluate", "EvaluateStream", "LeaseSharedMemory"))
            peer.send(peer.headers(1, method) + data_frames(1, data))
            peer.half_close()
            peer.read(0.02)
        tries += 1
    return tries


def abandoned_streams(place: Place, effort: Effort) -> int:
    """Streams that say nothing after their header; then their connections are gone."""
    header = prefixed(announcing(v1.Dtype.DTYPE_INT64, 1000))
    opened = 0
    with _peers(place, 4) as peers:
        for stream in range(1, 2 * effort.part(STREAMS) // len(peers), 2):
            for peer in peers:
                opened += peer.send(peer.headers(stream, "EvaluateStream") + DataFrame(stream, header).serialize())
                peer.read()
        time.sleep(effort.remaining)
        for peer in peers:
            peer.close(reset=True)
    return opened


def silent_headers(place: Place, effort: Effort) -> int:
    """Streams that announce half a gigabyte of targets, and then say nothing."""
    header = prefixed(announcing(v1.Dtype.DTYPE_INT64, (512 * 2**20 - 4096) // 8))
    with _peers(place, effort.part(8)) as peers:
        for peer in peers:
            peer.send(peer.headers(1, "EvaluateStream") + DataFrame(1, header).serialize())
        time.sleep(effort.remaining)
        return len(peers)


def idle_connections(place: Place, effort: Effort) -> int:
    """Thousands of connections that say nothing, with and without a preface."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(effort.part(IDLE), soft - KEPT_FOR_OTHERS)
    with _peers(place, most // 2) as begun, ExitStack() as stack:
        for _ in range(most // 2):
            stack.enter_context(Peer((place.host, place.port)))
        time.sleep(effort.remaining)
        return 2 * len(begun)


def unfinished_messages(place: Place, effort: Effort) -> int:
    """Connections that have sent most of a large message, and wait."""
    size = effort.part(SENT)
    start = prefixed(request_of(cases(0, ((32, 10),), 1)[0]), OF * size // SENT)
    data = start + bytes(size - len(start))
    with ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(place.target, patience=SECONDS)) for _ in range(SENDERS)]
        for caller in callers:
            caller.begin(1, "Evaluate")
            caller.send(1, data, seconds=effort.remaining)
        time.sleep(effort.remaining)
        return len(callers)


@contextmanager
def _peers(place: Place, count: int, settings: dict[int, int] | None = None) -> Iterator[list[Peer]]:
    """Connections, as many as the server takes."""
    with ExitStack() as stack:
        peers: list[Peer] = []
        with suppress(OSError):
            peers += (stack.enter_context(Peer.of(place, settings)) for _ in range(count))
        yield peers


SLOW = (
    slow_writers,
    slow_readers,
    half_closed,
    abandoned_streams,
    silent_headers,
    idle_connections,
    unfinished_messages,
)
