"""Which blocks are still to be evaluated, while other machines evaluate them too."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import SystemRandom
from typing import NamedTuple

from losswire_client import Run
from losswire_client.cli.evaluation.keyed._files import KeyedFile

STRETCH = 16  # blocks that are read one after the other
ASKED_SECONDS = 0.5  # after so long, others may have evaluated some of the next blocks
ASKED_KEYS = 1000  # more than are evaluated in this time


class Stretch(NamedTuple):
    """Blocks of a file, in ascending order."""

    file: KeyedFile
    blocks: Sequence[int]


class MissingKeys:
    """The keys of some files that a run lacks. Those of the next blocks are asked for anew from time to time.

    Attributes:
        first_count: How many were missing in the beginning.
    """

    def __init__(self, run: Run, files: Sequence[KeyedFile]) -> None:
        self._run = run
        self._keys = set(run.missing(key for file in files for key in file.all_keys()))
        self._asked = time.monotonic()
        self._stretches = list(_in_any_order(files, self._keys))
        self._number = self._place = 0  # of the stretch under way, and of the next block in it
        self.first_count = len(self._keys)

    def stretches(self) -> Iterator[Stretch]:
        """What is to be read. Machines come by it in different orders, so that they seldom meet."""
        for number, (file, blocks) in enumerate(self._stretches):
            self._number, self._place = number, 0
            self._ask_if_due()
            if left := [block for block in blocks if not self._keys.isdisjoint(file.keys(block))]:
                self._stretches[number] = Stretch(file, left)
                yield self._stretches[number]

    def of_next(self, file: KeyedFile, block: int) -> list[str]:
        """Those keys that are missing of the next block of the stretch."""
        self._ask_if_due()
        self._place += 1
        return [key for key in file.keys(block) if key in self._keys]

    def _ask_if_due(self) -> None:
        if time.monotonic() < self._asked + ASKED_SECONDS:
            return
        next_keys = list(islice(self._coming(), ASKED_KEYS))
        self._keys -= {*next_keys}.difference(self._run.missing(next_keys))
        self._asked = time.monotonic()

    def _coming(self) -> Iterator[str]:
        """The keys of the blocks that come next."""
        file, blocks = self._stretches[self._number]
        yield from self._of(file, blocks[self._place :])
        for later, its_blocks in islice(self._stretches, self._number + 1, None):
            yield from self._of(later, its_blocks)

    def _of(self, file: KeyedFile, blocks: Iterable[int]) -> Iterator[str]:
        return (key for block in blocks for key in file.keys(block) if key in self._keys)


def _in_any_order(files: Sequence[KeyedFile], missing: set[str]) -> Iterator[Stretch]:
    """Files by chance, and stretches of a file by chance if it need not be read from its beginning for each."""
    chance = SystemRandom()
    for file in chance.sample(files, len(files)):
        blocks = [block for block in range(file.block_count) if not missing.isdisjoint(file.keys(block))]
        size = STRETCH if file.is_seekable else max(1, len(blocks))
        stretches = [blocks[i : i + size] for i in range(0, len(blocks), size)]
        for stretch in chance.sample(stretches, len(stretches)):
            yield Stretch(file, stretch)
