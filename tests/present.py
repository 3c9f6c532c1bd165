"""Imports nothing, so that tests/gpu can use it without our packages."""

from typing import TypeVar

T = TypeVar("T")


def present(x: T | None) -> T:
    """A value that must be there because it was asked for, though its type includes None."""
    assert x is not None
    return x
