"""A client in a process of its own, so that its memory can be measured: ``python -m benchmarks.growth.caller TARGET``.

It reads lines like ``evaluations 500`` or ``connections 50``, makes so many, and answers each line with their outcomes,
in JSON.
"""

import ctypes
import json
import sys
import threading
from collections import Counter

import numpy as np

from benchmarks.growth.mix import Mix
from losswire_client import Client, LosswireError

CLOSED_EARLY_SECONDS = 0.003
TRANSPORTS = ("auto", "unary", "stream", "shared_memory")
SMALL, LARGE = (32, 10), (64, 4000)


class Caller:
    def __init__(self, target: str) -> None:
        self._target = target
        self._mix = Mix(target)
        self._connections = 0
        self._small, self._large = (np.zeros(shape, np.float32) for shape in (SMALL, LARGE))

    def evaluations(self, count: int) -> dict[str, int]:
        """Makes evaluations on one connection, which lasts."""
        outcomes = [self._mix.evaluate() for _ in range(count)]
        return Counter(kind for kind, _ in outcomes)

    def connections(self, count: int) -> dict[str, int]:
        """Opens connections, uses each for a few calls, and closes it."""
        return Counter(self._connection() for _ in range(count))

    def trim(self, _: int) -> dict[str, int]:
        """Makes malloc give back free memory between blocks in use, such as slices that a slow moment left behind."""
        ctypes.CDLL(None).malloc_trim(0)
        return {}

    def _connection(self) -> str:
        self._connections += 1
        transport = TRANSPORTS[self._connections % len(TRANSPORTS)]
        with Client(self._target, transport=transport) as client:
            client.cross_entropy(self._small, np.zeros(len(self._small), np.int64))
            client.cross_entropy(self._large, np.zeros(len(self._large), np.int64), grad=True)
            return self._closed_early(client) if self._connections % 10 == 0 else "closed"

    def _closed_early(self, client: Client) -> str:
        timer = threading.Timer(CLOSED_EARLY_SECONDS, client.close)
        timer.start()
        try:
            while True:
                client.cross_entropy(self._large, np.zeros(len(self._large), np.int64), grad=True)
        except LosswireError:
            return "closed during a call"
        finally:
            timer.join()

    def close(self) -> None:
        self._mix.close()


def main() -> None:
    caller = Caller(sys.argv[1])
    try:
        for line in sys.stdin:
            name, count = line.split()
            print(json.dumps(getattr(caller, name)(int(count))), flush=True)
    finally:
        caller.close()


if __name__ == "__main__":
    main()
