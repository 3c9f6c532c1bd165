"""Serving in this process, until a signal stops it or its device breaks."""

import asyncio
import faulthandler
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from losswire_server.process.ending import CANNOT_START, DEVICE_LOST, end_at_the_latest
from losswire_server.process.limits import check_address_space, check_threads, told_address_space
from losswire_server.process.logs.strays import log_fault_of_loop
from losswire_server.process.starting import CannotStartError, root_of
from losswire_server.process.stop_signal import StopSignal
from losswire_server.settings import Settings
from losswire_server.tracing.switch import exporting

if TYPE_CHECKING:
    from losswire_server.server import Server

    MakeServer = Callable[[Settings], Server]

START_SECONDS = 180.0  # of the start at the most, once all libraries are loaded
STUCK_SECONDS = 20.0  # for what is left to do after calls have ended


def serve(
    settings: Settings, stop: StopSignal, load: "Callable[[], MakeServer] | None" = None, place: int | None = None
) -> int:
    """Serves in this process until SIGTERM or SIGINT, or until the device breaks. Returns the exit status.

    Args:
        settings: Those of the server.
        stop: Has SIGTERM and SIGINT.
        load: Loads the libraries, and returns what makes the server.
        place: The process's number among those that are a server together; None if it is one alone.

    Raises:
        CannotStartError: It cannot start.
        WrongSettingsError: As above.
        AddressError: As above.
    """
    with exporting(settings, place):
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
        end_at_the_latest(drain + settings.grace_seconds + STUCK_SECONDS, status, "stop takes too long")
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
    late = end_at_the_latest(START_SECONDS, CANNOT_START, "start takes too long")
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
