"""Another function in place of the evaluation on the CPU, for tests of what is around it."""

from collections.abc import Callable

import pytest

import ce_engine


def replace_evaluation(monkeypatch: pytest.MonkeyPatch, evaluate: Callable[..., ce_engine.RowResults]) -> None:
    """All slabs go to ``evaluate``, with the arguments of `ce_engine.cpu.evaluate`, also small ones."""
    monkeypatch.setattr(ce_engine.cpu, "evaluate_at_once", lambda _: None)
    monkeypatch.setattr(ce_engine.cpu, "evaluate", evaluate)
