"""Watches memory while thousands of calls are made."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.growth.memory import MB
from benchmarks.growth.processes import AS_SHIPPED, Sample, watched

CLIENT_BOUND, SERVER_BOUND = 1 * MB, 10 * MB
AT_ENDS = 5  # samples whose medians are compared, since single ones differ by blocks that malloc has or has not kept


class Watch(NamedTuple):
    """What the client makes, and how many of it."""

    kind: str  # evaluations or connections
    warm_up: int
    calls: int
    step: int


class Growth(NamedTuple):
    """The result of a watch."""

    samples: list[Sample]
    outcomes: Counter[str]

    @property
    def client(self) -> float:
        """Bytes that the client grew by."""
        return _growth([sample.client.own for sample in self.samples])

    @property
    def server(self) -> float:
        """Bytes that the server grew by."""
        return _growth([sample.server.own for sample in self.samples])

    @property
    def client_spread(self) -> int:
        """Bytes between the least and the most that the client had."""
        return _spread([sample.client.own for sample in self.samples])

    @property
    def server_spread(self) -> int:
        """Bytes between the least and the most that the server had."""
        return _spread([sample.server.own for sample in self.samples])


def measure(watch: Watch, environment: Mapping[str, str] = AS_SHIPPED, *, trimmed: bool = False) -> Growth:
    """Watches client and server in processes of their own. The warm-up is counted in the outcomes alone.

    Args:
        watch: What the client makes.
        environment: Variables of both processes.
        trimmed: Whether the client gives back all free memory before each sample, which only glibc's malloc can.
    """
    with watched(environment) as both:
        both.run(watch.kind, watch.warm_up)
        samples = [both.sample(0, trimmed=trimmed)]
        for calls in range(watch.step, watch.calls + 1, watch.step):
            both.run(watch.kind, watch.step)
            samples.append(both.sample(calls, trimmed=trimmed))
        return Growth(samples, both.outcomes)


def _growth(values: list[int]) -> float:
    ends = min(AT_ENDS, len(values) // 2)
    return statistics.median(values[-ends:]) - statistics.median(values[:ends])


def _spread(values: list[int]) -> int:
    return max(values) - min(values)
