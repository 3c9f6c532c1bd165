"""How this process ends: its exit statuses, and an end even if a thread never comes back."""

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

from losswire_server.process.listening import AddressError
from losswire_server.process.starting import CannotStartError
from losswire_server.settings.reading import WrongSettingsError

FAILED, CANNOT_START, DEVICE_LOST = 1, 2, 3  # exit statuses
REFUSALS = (CannotStartError, WrongSettingsError, AddressError)  # each is a line or more that says why nothing starts
LAST_WORDS_SECONDS = 0.5  # for the log's thread to write why the process ends

log = logging.getLogger(__name__)


def end(status: int) -> NoReturn:
    """Ends the process with that exit status."""
    _forget_what_cannot_be_said()
    if status == DEVICE_LOST:
        os._exit(status)  # an ordinary exit would have CUDA clean up a device that is gone, which may abort or hang
    sys.exit(status)  # here, where no exception keeps parts of the server alive any more


def end_at_the_latest(seconds: float, status: int, why: str) -> threading.Timer:
    """Ends the process even if a thread never comes back, as from the driver of a broken device."""

    def end_now() -> None:
        log.error(why, extra={"seconds": seconds})
        time.sleep(LAST_WORDS_SECONDS)
        os._exit(status)

    timer = threading.Timer(seconds, end_now)
    timer.daemon = True
    with suppress(RuntimeError):  # the operating system gives no thread; what is to be ended goes on all the same
        timer.start()
    return timer


def _forget_what_cannot_be_said() -> None:
    """Keeps the exit status: Python exits with 120 if it cannot flush standard error, as on a full disk."""
    try:
        sys.stderr.flush()
    except OSError:
        sys.stderr = None
