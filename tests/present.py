"""Needs nothing, so that tests/gpu has it too, where nothing of ours is installed."""

from typing import TypeVar

T = TypeVar("T")


def present(x: T | None) -> T:
    """What was asked for, and so must be there, though its type has None too."""
    assert x is not None
    return x
