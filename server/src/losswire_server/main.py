"""``losswire-server``: reads the settings, and serves until a signal stops it."""

import asyncio
import logging
import os
import signal
import sys

from losswire_server.process import logs
from losswire_server.process.ending import CANNOT_START, FAILED, REFUSALS, end
from losswire_server.process.exposure import check_exposure
from losswire_server.process.limits import raise_open_files
from losswire_server.process.listening import Address
from losswire_server.process.logs.output import say
from losswire_server.process.starting import CannotStartError
from losswire_server.process.stop_signal import StopSignal
from losswire_server.serving import serve
from losswire_server.settings import Settings
from losswire_server.settings.reading import mistyped_variables, read_settings
from losswire_server.supervision.plan import needs_supervisor

log = logging.getLogger(__name__)


def main(args: list[str] | None = None) -> None:
    """Runs the server.

    Exits with 0 after SIGTERM or SIGINT, 2 if it cannot start, 3 if its GPU broke, 1 for a fault of its own.
    """
    if args is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt before or after serving needs no traceback
    _open_standard_streams()
    end(_run(sys.argv[1:] if args is None else args))


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


def _open_standard_streams() -> None:
    """Opens closed standard streams: the next connection would get their descriptor, and everything printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
