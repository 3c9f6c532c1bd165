"""The well-behaved caller, in a process of its own: ``python -m trials.peers.caller TARGET``.

It evaluates small and middling batches without end, over one connection and over fresh ones, and checks every answer.
Each line on its standard input makes it write what came of the calls since the last one, in JSON.
"""

import itertools
import json
import sys
import threading
import time
from typing import Any

from losswire_client import Client, LosswireError
from trials.cases import SMALL, Case, cases
from trials.twin.check import WrongAnswerError

TIMEOUT = 30.0  # of a call with all its retries
PAUSE_SECONDS = 0.005
CALLS_A_CONNECTION = 50
TRANSPORTS = ("unary", "stream", "auto")


class Caller(threading.Thread):
    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._cases = cases(0, (*SMALL, (256, 1000)), 40)
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self._wrong: list[str] = []
        self._failed: list[str] = []

    def prepare(self) -> None:
        """Computes the true answers, so that the calls wait for nothing but their answers."""
        for case in self._cases:
            case.prepare()

    def run(self) -> None:
        for transport in itertools.cycle(TRANSPORTS):
            with Client(self._target, transport=transport, timeout=TIMEOUT) as client:
                for number in range(CALLS_A_CONNECTION):
                    self._call(client, self._cases[number % len(self._cases)])
                    time.sleep(PAUSE_SECONDS)

    def lap(self) -> dict[str, Any]:
        with self._lock:
            seconds, wrong, failed = self._seconds, self._wrong, self._failed
            self._seconds, self._wrong, self._failed = [], [], []
        return {"seconds": seconds, "wrong": wrong, "failed": failed}

    def _call(self, client: Client, case: Case) -> None:
        arrays, options = case.arguments
        wrong, failed = [], []
        start = time.perf_counter()
        try:
            result = getattr(client, case.loss)(*arrays, **options)
            seconds = time.perf_counter() - start
            case.check(result)
        except WrongAnswerError as error:
            wrong.append(str(error))
        except LosswireError as error:
            seconds = time.perf_counter() - start
            failed.append(f"{type(error).__name__}: {error}")
        with self._lock:
            self._seconds.append(seconds)
            self._wrong += wrong
            self._failed += failed


def main() -> None:
    caller = Caller(sys.argv[1])
    caller.prepare()
    caller.start()
    for _ in sys.stdin:
        print(json.dumps(caller.lap()), flush=True)


if __name__ == "__main__":
    main()
