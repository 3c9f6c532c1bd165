"""``losswire-server``: reads the settings, serves until a signal says otherwise."""

import asyncio
import logging
import signal
import sys

import uvloop
from prometheus_client import disable_created_metrics
from pydantic import ValidationError
from pydantic_settings import CliApp

from losswire_server import logs
from losswire_server.allocator import keep_freed_memory
from losswire_server.server import Server
from losswire_server.settings import Settings

log = logging.getLogger(__name__)


def main(args: list[str] | None = None) -> None:
    """Runs the server; exits with 2 for wrong settings, 1 if it cannot listen, 0 after SIGTERM or SIGINT."""
    settings = _read_settings(sys.argv[1:] if args is None else args)
    logs.configure(settings.log_level, settings.log_format)
    keep_freed_memory()
    disable_created_metrics()  # type: ignore[no-untyped-call] # a third of all samples, which no dashboard reads
    try:
        uvloop.run(serve(settings))
    except OSError as error:
        log.error("cannot serve", extra={"problem": str(error)})  # noqa: TRY400 - the problem is outside, not in a traceback
        sys.exit(1)


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. A second signal has its ordinary effect, and ends the process at once."""
    signalled = _signalled()  # before it says that it serves, since whoever hears that may stop it at once
    server = Server(settings)
    await server.start()
    await signalled.wait()
    await server.stop()


def _signalled() -> asyncio.Event:
    loop, signals, signalled = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT), asyncio.Event()

    def on_signal() -> None:
        signalled.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    return signalled


def _read_settings(args: list[str]) -> Settings:
    try:
        return CliApp.run(Settings, args)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(map(str, problem["loc"])) or "settings"
            print(f"losswire-server: {name}: {problem['msg']}, got {problem['input']!r}", file=sys.stderr)
    except (OSError, ValueError) as error:  # the file is missing, or is not TOML
        print(f"losswire-server: config: {error}", file=sys.stderr)
    sys.exit(2)
