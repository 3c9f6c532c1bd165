"""How long an evaluation takes, by the size of its batch."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.timing import medians
from losswire_client import Client

STRAIGHT_FROM_BYTES = 10**6
CLASSES, FEW_CLASSES = 32_000, 256  # few for batches of less than a megabyte, so that their rows are many
REAL_BYTES = 2**29  # in larger batches all rows share the memory of one
MOST_RUNS, LEAST_RUNS, BYTES_A_CELL = 51, 3, 2**33
TIMEOUT = 300.0
SINGLE = ("stream", "shared_memory")  # auto is shared memory up to half the server's quota, a stream above: two lines


class Timing(NamedTuple):
    """Median seconds of each transport that can take batches of that size."""

    nbytes: int
    shape: tuple[int, int]
    runs: int
    seconds: dict[str, float]


class Line(NamedTuple):
    """Seconds as a straight line of bytes.

    Attributes:
        deviation: The largest deviation, as a share of the measured time.
    """

    offset: float
    slope: float
    deviation: float

    def at(self, nbytes: float) -> float:
        return self.offset + self.slope * nbytes


def measure(target: str, sizes: list[int], transports: tuple[str, ...], runs: int = MOST_RUNS) -> list[Timing]:
    """Evaluates a mean cross-entropy of float32 logits, by each transport in turns."""
    with ExitStack() as stack:
        clients = {name: stack.enter_context(Client(target, transport=name, timeout=TIMEOUT)) for name in transports}
        room = next(iter(clients.values())).capabilities().shared_memory_bytes
        return [_timing(size, _able(clients, size, room), runs) for size in sizes]


def fit(timings: list[Timing], transport: str) -> Line | None:
    """The line through the times of a megabyte or more; None if they are too few."""
    straight = [each for each in timings if each.nbytes >= STRAIGHT_FROM_BYTES and transport in each.seconds]
    if len(straight) < 3:
        return None
    nbytes = np.array([each.nbytes for each in straight], np.float64)
    seconds = np.array([each.seconds[transport] for each in straight])
    # Least squares of relative deviations: otherwise the largest batch alone would determine the line.
    slope, offset = np.polyfit(nbytes, seconds, 1, w=1 / seconds)
    deviation = float(np.abs((offset + slope * nbytes) / seconds - 1).max())
    return Line(float(offset), float(slope), deviation)


def shape_of(size: int) -> tuple[int, int]:
    """A shape of about so many bytes of float32."""
    classes = CLASSES if size >= STRAIGHT_FROM_BYTES else FEW_CLASSES
    return max(1, round(size / (4 * classes))), classes


def logits_of(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Random logits. In the largest batches all rows share the memory of one, so that nobody needs gigabytes for them.

    A stream copies slabs out of such batches one by one: once more than out of other arrays, but from a cache.
    """
    rng = np.random.default_rng(0)
    if 4 * shape[0] * shape[1] <= REAL_BYTES:
        return rng.standard_normal(shape, np.float32)
    return np.broadcast_to(rng.standard_normal((1, shape[1]), np.float32), shape)


def _able(clients: dict[str, Client], size: int, room: int) -> dict[str, Client]:
    fits = 2 * size <= room  # half of it, since regions that others hold count too
    return {name: client for name, client in clients.items() if name != "shared_memory" or fits}


def _timing(size: int, clients: dict[str, Client], runs: int) -> Timing:
    shape = shape_of(size)
    logits, target = logits_of(shape), np.arange(shape[0]) % shape[1]
    count = max(LEAST_RUNS, min(runs, BYTES_A_CELL // size))
    candidates: dict[str, Callable[[], object]] = {
        name: partial(client.cross_entropy, logits, target) for name, client in clients.items()
    }
    return Timing(logits.nbytes, shape, count, medians(candidates, count))
