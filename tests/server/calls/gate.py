"""Evaluations that last as long as a test wants them to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ce_engine.cpu
from tests.replaced_evaluation import replace_evaluation


class Gate:
    """Holds every evaluation until it is opened; `arrived` counts the evaluations that it holds.

    Attributes:
        threads: The names of the threads that evaluate.
        compute: Evaluates without being held.
        before: Is called before each evaluation, once it may go on.
    """

    def __init__(self) -> None:
        self.arrived, self.opened = threading.Semaphore(0), threading.Event()
        self.evaluated = 0
        self.threads: list[str] = []
        self.compute = ce_engine.cpu.evaluate
        self.before: Callable[[], object] = lambda: None

    def __call__(self, *arguments: Any, **options: Any) -> ce_engine.RowResults:
        self.threads.append(threading.current_thread().name)
        self.arrived.release()
        assert self.opened.wait(30)
        self.before()
        self.evaluated += 1
        return self.compute(*arguments, **options)


@contextmanager
def gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Holds the evaluations of servers in this process."""
    gate = Gate()
    replace_evaluation(monkeypatch, gate)
    try:
        yield gate
    finally:
        gate.opened.set()
