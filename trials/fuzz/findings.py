"""What counts as a finding: an input that may neither be answered so nor be refused so."""

from collections.abc import Callable
from typing import TypeVar

import grpc

import ce_engine
from losswire_server.errors import to_status, trailers

T = TypeVar("T")

MAX_METADATA_BYTES = 8192  # of an answer; callers' libraries refuse more


class FindingError(Exception):
    """The code under test does what it must not do."""


def answer_or_refusal(work: Callable[[], T]) -> T | grpc.StatusCode:
    """What the work gives, or the status of the error with which it refuses.

    Raises:
        FindingError: The error is a fault of the server's, or cannot be sent.
    """
    try:
        return work()
    except FindingError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the contract says what may come of it
        return checked_status(error)


def checked_status(error: Exception) -> grpc.StatusCode:
    """The status that a caller gets for an error.

    Raises:
        FindingError: As `answer_or_refusal`.
    """
    status = to_status(error)
    if status.code is grpc.StatusCode.INTERNAL:
        raise FindingError(f"a caller's input ends in INTERNAL: {error!r}") from error
    if isinstance(error, ce_engine.OutOfMemoryError):
        raise FindingError(f"a small input takes all memory: {error}") from error
    size = sum(len(name) + len(value) for name, value in trailers(error, status)) + len(status.details or "")
    if size > MAX_METADATA_BYTES:
        raise FindingError(f"an error takes {size} bytes of metadata: {error}") from error
    return status.code


def hold(condition: bool, problem: str) -> None:
    """Raises a `FindingError` if a condition does not hold."""
    if not condition:
        raise FindingError(problem)
