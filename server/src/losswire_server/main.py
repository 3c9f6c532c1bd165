"""``losswire-server``: reads the settings, and serves until a signal stops it."""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from losswire_server.process import logs
from losswire_server.process.exposure import check_exposure
from losswire_server.process.limits import (
    check_address_space,
    check_threads,
    raise_open_files,
    told_address_space,
)
from losswire_server.process.listening import Address, AddressError
from losswire_server.process.logs.output import say
from losswire_server.process.logs.strays import log_fault_of_loop
from losswire_server.process.starting import CannotStartError, root_of
from losswire_server.process.stop_signal import StopSignal
from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError, mistyped_variables, read_settings
from losswire_server.supervision.plan import needs_supervisor
from losswire_server.tracing.switch import exporting

if TYPE_CHECKING:
    from losswire_server.server import Server

    MakeServer = Callable[[Settings], Server]

FAILED, CANNOT_START, DEVICE_LOST = 1, 2, 3  # exit statuses
REFUSALS = (CannotStartError, WrongSettingsError, AddressError)  # each is a line or more that says why nothing starts
START_SECONDS = 180.0  # of the start at the most, once all libraries are loaded
STUCK_SECONDS = 20.0  # for what is left to do after calls have ended
LAST_WORDS_SECONDS = 0.5  # for the log's thread to write why the process ends

log = logging.getLogger(__name__)


def main(args: list[str] | None = None) -> None:
    """Runs the server.

    Exits with 0 after SIGTERM or SIGINT, 2 if it cannot start, 3 if its GPU broke, 1 for a fault of its own.
    """
    if args is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt before or after serving needs no traceback
    _open_standard_streams()
    end(_run(sys.argv[1:] if args is None else args))


def end(status: int) -> NoReturn:
    """Ends the process with that exit status."""
    _forget_what_cannot_be_said()
    if status == DEVICE_LOST:
        os._exit(status)  # an ordinary exit would have CUDA clean up a device that is gone, which may abort or hang
    sys.exit(status)  # here, where no exception keeps parts of the server alive any more


def _run(args: list[str]) -> int:
    try:
        settings = read_settings(args)
        raise_open_files()
        with StopSignal() as stop, logs.configured(settings.log_level, settings.log_format):
            return _run_logged(settings, stop)
    except REFUSALS as error:
        for line in str(error).splitlines():
            say(f"losswire-server: {line}")
        return CANNOT_START


def _run_logged(settings: Settings, stop: StopSignal) -> int:
    for variable, meant in mistyped_variables().items():
        log.warning("unknown variable", extra={"variable": variable, "did_you_mean": meant})
    try:
        _check_addresses(settings)
        _check_security(settings)
        return _supervise(settings, stop) if needs_supervisor(settings) else serve(settings, stop)
    except REFUSALS:
        raise
    except Exception:
        log.critical("server failed", exc_info=True)
        return FAILED


def _supervise(settings: Settings, stop: StopSignal) -> int:
    """Has several processes serve. Returns the exit status."""
    from prometheus_client import disable_created_metrics

    from losswire_server.supervision.supervisor import supervise  # here, since one process needs none of it

    disable_created_metrics()  # type: ignore[no-untyped-call] # as each process does
    try:
        return asyncio.run(supervise(settings, stop))
    except OSError as error:
        raise CannotStartError(error.strerror or str(error)) from error


def serve(settings: Settings, stop: StopSignal, load: "Callable[[], MakeServer] | None" = None) -> int:
    """Serves in this process until SIGTERM or SIGINT, or until the device breaks. Returns the exit status.

    Args:
        settings: Those of the server.
        stop: Has SIGTERM and SIGINT.
        load: Loads the libraries, and returns what makes the server.

    Raises:
        CannotStartError: It cannot start.
        WrongSettingsError: As above.
        AddressError: As above.
    """
    with exporting(settings):
        return _serve(settings, stop, load or load_server)


def _serve(settings: Settings, stop: StopSignal, load: "Callable[[], MakeServer]") -> int:
    from losswire_server.process.allocator import FreedMemory

    if stop.received:
        return 0
    if not faulthandler.is_enabled():
        faulthandler.enable(2)  # a crash says where, since gRPC's own last words are quiet
    FreedMemory(settings.kept_bytes).keep()
    check_address_space(settings, loaded=False)
    check_threads(settings)
    make_server = load()
    import uvloop

    async def serve() -> int:
        asyncio.get_running_loop().set_exception_handler(log_fault_of_loop)
        server = make_server(settings)
        if not await _started(server, stop):
            return 0
        await _first(stop.wait(), server.device_lost.wait())
        lost = server.device_lost.is_set()
        status, drain = (DEVICE_LOST, 0.0) if lost else (0, settings.drain_seconds)
        _end_at_the_latest(drain + settings.grace_seconds + STUCK_SECONDS, status, "stop takes too long")
        await server.stop()
        return status

    check_address_space(settings, loaded=True)
    return uvloop.run(serve())


def load_server() -> "type[Server]":
    """Loads the libraries, which takes seconds.

    Raises:
        CannotStartError: One of them cannot be loaded.
    """
    # Callers choose some of what gRPC's core prints, past the log. To look for faults, set it to INFO or more.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from prometheus_client import disable_created_metrics

        from losswire_server.server import Server
    except Exception as error:
        raise CannotStartError(f"cannot load a library: {root_of(error)}{told_address_space()}") from error
    disable_created_metrics()  # type: ignore[no-untyped-call] # a third of all samples, which no dashboard reads
    return Server


async def _started(server: "Server", stop: StopSignal) -> bool:
    """Starts the server. Returns whether it serves: a signal ends the start.

    Raises:
        CannotStartError: It cannot start.
        WrongSettingsError: As above.
        AddressError: As above.
    """
    late = _end_at_the_latest(START_SECONDS, CANNOT_START, "start takes too long")
    starting = asyncio.ensure_future(server.start())
    await _first(asyncio.wait({starting}), stop.wait())
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    except OSError as error:
        raise CannotStartError(error.strerror or str(error)) from error
    except (MemoryError, RuntimeError) as error:
        raise CannotStartError(f"cannot start: {root_of(error)}{told_address_space()}") from error
    finally:
        late.cancel()
    return True


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Waits for one of them, and cancels the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _end_at_the_latest(seconds: float, status: int, why: str) -> threading.Timer:
    """Ends the process even if a thread never comes back, as from the driver of a broken device."""

    def end() -> None:
        log.error(why, extra={"seconds": seconds})
        time.sleep(LAST_WORDS_SECONDS)
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    with suppress(RuntimeError):  # the operating system gives no thread; what is to be ended goes on all the same
        timer.start()
    return timer


def _check_addresses(settings: Settings) -> None:
    # The server checks them too. Here a wrong port is reported before torch is loaded, which takes seconds.
    try:
        Address(settings.host, settings.port, "host", "port").check()
        if settings.metrics:
            Address(settings.metrics_host, settings.metrics_port, "metrics_host", "metrics_port").check()
    except OSError as error:
        raise CannotStartError(error.strerror or str(error)) from error


def _check_security(settings: Settings) -> None:
    check_exposure(settings)
    if settings.has_tls or settings.knows_callers:
        from losswire_server.rpc.security.files import check_files  # here, since it loads gRPC and more

        check_files(settings)


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
