"""The targets: functions of any bytes that raise `FindingError` if the code under test does what it must not do."""

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from trials.fuzz.bounds import bounded
from trials.fuzz.targets import frames, headers, packs, regions, streams, unary


class Target(NamedTuple):
    """A target.

    Attributes:
        test: Does everything with an input; see the module of the target's name.
        mutate: Changes an input's fields.
        seed: Makes an input that is right.
    """

    test: Callable[[bytes], None]
    mutate: Callable[[bytes, random.Random], bytes]
    seed: Callable[[random.Random], bytes]

    def run(self, data: bytes) -> None:
        """Tests an input, within the bounds of time and memory.

        Raises:
            FindingError: It is a finding.
        """
        with bounded(len(data)):
            self.test(data)


TARGETS: Mapping[str, Target] = {
    "frames": Target(frames.test, frames.mutate, frames.seed),
    "headers": Target(headers.test, headers.mutate, headers.seed),
    "unary": Target(unary.test, unary.mutate, unary.seed),
    "packs": Target(packs.test, packs.mutate, packs.seed),
    "streams": Target(streams.test, streams.mutate, streams.seed),
    "regions": Target(regions.test, regions.mutate, regions.seed),
}
