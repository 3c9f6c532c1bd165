"""How futures are settled: nobody outside may end the engine's thread."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


def settle(future: "Future[Any]", make: Callable[[], Any]) -> None:
    """Sets what comes of making the value."""
    try:
        value = make()
    except BaseException as error:  # noqa: BLE001 - it goes to the caller, and must not end the engine's thread
        tell(future.set_exception, error)
    else:
        tell(future.set_result, value)
    finally:
        del future, make  # an error holds this frame, and would hold itself by the future


def tell(listener: Callable[[T], object], value: T) -> None:
    """Tells somebody outside. No error of theirs, as of a future's callback, may end the engine's thread."""
    try:
        listener(value)
    except BaseException:  # even SystemExit
        log.exception("a future could not be settled, or a callback failed")
