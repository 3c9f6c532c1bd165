"""Evaluations that last as long as a test wants them to."""

import threading
from collections.abc import Callable
from typing import Any


class Gate:
    """Holds every evaluation until it is opened; `arrived` counts the evaluations that it holds."""

    def __init__(self, evaluate: Callable[..., Any]) -> None:
        self.arrived, self.opened = threading.Semaphore(0), threading.Event()
        self.evaluated = 0
        self._evaluate = evaluate

    def __call__(self, *request: object) -> Any:
        self.arrived.release()
        assert self.opened.wait(30)
        self.evaluated += 1
        return self._evaluate(*request)
