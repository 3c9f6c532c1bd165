"""``losswire-server``: reads the settings, and serves until a signal stops it."""

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from losswire_server.process import logs
from losswire_server.process.listening import Address, AddressError
from losswire_server.process.stop_signal import StopSignal
from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError, mistyped_variables, read_settings

LEAST_OPEN_FILES = 64  # enough for an idle server and some callers
DEVICE_LOST = 3  # exit status
STUCK_SECONDS = 20.0  # for what is left to do after calls have ended

log = logging.getLogger(__name__)


def main(args: list[str] | None = None) -> None:
    """Runs the server.

    Exits with 2 for wrong settings, 1 if a port is taken, 3 if its GPU broke, 0 after SIGTERM or SIGINT.
    """
    if args is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt before or after serving needs no traceback
    _open_standard_streams()
    status = _run(sys.argv[1:] if args is None else args)
    _forget_what_cannot_be_said()
    if status == DEVICE_LOST:
        os._exit(status)  # an ordinary exit would have CUDA clean up a device that is gone, which may abort or hang
    sys.exit(status)  # here, where no exception keeps parts of the server alive any more


def _run(args: list[str]) -> int:
    try:
        settings = read_settings(args)
        _check_open_files()
        with StopSignal() as stop:
            logs.configure(settings.log_level, settings.log_format)
            for name, meant in mistyped_variables().items():
                log.warning("unknown variable", extra={"variable": name, "did_you_mean": meant})
            _check_addresses(settings)
            return _serve(settings, stop)
    except (WrongSettingsError, AddressError) as error:
        with suppress(OSError):  # the exit status says it too
            for line in str(error).splitlines():
                print(f"losswire-server: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        log.error("cannot serve", extra={"problem": error.strerror or str(error)})  # noqa: TRY400 - the problem is outside
        return 1


def _serve(settings: Settings, stop: StopSignal) -> int:
    """Serves until SIGTERM or SIGINT, or until the device breaks. Returns the exit status."""
    import uvloop  # here, since these imports load torch, which takes seconds
    from prometheus_client import disable_created_metrics

    from losswire_server.process.allocator import FreedMemory
    from losswire_server.server import Server

    async def serve() -> int:
        server = Server(settings)
        await server.start()
        await _first(stop.wait(), server.device_lost.wait())
        lost = server.device_lost.is_set()
        if lost:
            _end_at_the_latest(settings.grace_seconds + STUCK_SECONDS)
        await server.stop()
        return DEVICE_LOST if lost else 0

    if stop.received:
        return 0
    FreedMemory(settings.kept_bytes).keep()
    disable_created_metrics()  # type: ignore[no-untyped-call] # a third of all samples, which no dashboard reads
    return uvloop.run(serve())


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Waits for one of them, and cancels the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _end_at_the_latest(seconds: float) -> None:
    """Ends the process even if a thread never comes back from the driver of a broken device."""
    timer = threading.Timer(seconds, os._exit, (DEVICE_LOST,))
    timer.daemon = True
    timer.start()


def _check_addresses(settings: Settings) -> None:
    # The server checks them too. Here a wrong port is reported before torch is loaded, which takes seconds.
    Address(settings.host, settings.port, "host", "port").check()
    Address(settings.metrics_host, settings.metrics_port, "metrics_host", "metrics_port").check()


def _check_open_files() -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < LEAST_OPEN_FILES:
        raise WrongSettingsError(f"open files: expected a limit (ulimit -n) of at least {LEAST_OPEN_FILES}, got {most}")


def _forget_what_cannot_be_said() -> None:
    """Keeps the exit status: Python exits with 120 if it cannot flush standard error, as on a full disk."""
    try:
        sys.stderr.flush()
    except OSError:
        sys.stderr = None


def _open_standard_streams() -> None:
    """Opens closed standard streams: the next connection would get their descriptor, and everything printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
