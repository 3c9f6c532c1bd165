"""Traces calls if the program uses OpenTelemetry; this package never imports it first.

A program that traces anything has imported ``opentelemetry.trace``, and otherwise there is nothing to pass on. So the
question costs one look into a dictionary.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from losswire_client._tracing.spans import Spans

Metadata: TypeAlias = tuple[tuple[str, str], ...]
Fact: TypeAlias = str | int

PREFIX = "losswire."
NOTHING: AbstractContextManager[None] = nullcontext()

OPERATION: ContextVar[Any] = ContextVar("losswire_operation", default=None)  # the span of what the caller asked for


def operation(name: str, facts: Callable[[], Mapping[str, Fact]]) -> AbstractContextManager[None]:
    """Surrounds what a caller asked for, with all its calls.

    Args:
        name: What the caller asked for.
        facts: Tells more about it; called if it is traced.
    """
    spans = _spans()
    return NOTHING if spans is None else spans.operation(name, facts)


def call(method: str, target: str, metadata: Metadata | None) -> AbstractContextManager[Metadata | None]:
    """Surrounds a call. Gives the metadata to send: what is given, and the context of the trace.

    Args:
        method: Full name of the RPC, as in ``losswire.v1.LossService/Evaluate``.
        target: The server's address.
        metadata: Of the call.
    """
    spans = _spans()
    return nullcontext(metadata) if spans is None else spans.call(method, target, metadata)


def together(callers: Sequence[Any]) -> AbstractContextManager[None]:
    """Surrounds a call that is made for many callers, by what `current` returned to each of them."""
    spans = _spans()
    return NOTHING if spans is None else spans.together(callers)


def current() -> Any:
    """The trace of this thread or task."""
    spans = _spans()
    return None if spans is None else spans.current()


def note(name: str, fact: Fact) -> None:
    """Notes something about what the caller asked for."""
    span = OPERATION.get()
    if span is not None:
        span.set_attribute(f"{PREFIX}{name}", fact)


def note_retry(error: BaseException | None, pause: float) -> None:
    """Notes that what the caller asked for failed, and is tried again after a pause of so many seconds."""
    span = OPERATION.get()
    if span is not None:
        span.add_event("retry", {"error.type": type(error).__name__, f"{PREFIX}pause_seconds": pause})


def _spans() -> "Spans | None":
    if "opentelemetry.trace" not in sys.modules:
        return None
    from losswire_client._tracing.choice import SPANS

    return SPANS
