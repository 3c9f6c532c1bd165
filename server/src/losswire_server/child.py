"""What the supervisor starts: a process that serves with others. It reads no flags, and ends with the supervisor."""

import logging
import sys
from functools import partial
from typing import Any

from losswire_server.process import logs
from losswire_server.process.ending import CANNOT_START, FAILED, REFUSALS, end
from losswire_server.process.stop_signal import StopSignal
from losswire_server.serving import load_server, serve
from losswire_server.settings import Settings
from losswire_server.supervision.link import Link, Message, end_with

log = logging.getLogger(__name__)


def main() -> None:
    """Serves until the supervisor or a signal stops it. Exits with the status of a server that is one process."""
    link = Link(int(sys.argv[1]))
    order = link.receive()
    if order is None:
        sys.exit(FAILED)
    end_with(order["supervisor"])
    end(_run(link, order))


def _run(link: Link, order: Message) -> int:
    settings, place = Settings(**order["settings"]), order["place"]
    try:
        with StopSignal() as stop, logs.configured(settings.log_level, settings.log_format):
            _name_in_logs(place)
            return _serve(settings, stop, link, place)
    except REFUSALS as error:
        link.send({"refusal": str(error)})  # the supervisor says it, once for all
        return CANNOT_START


def _serve(settings: Settings, stop: StopSignal, link: Link, place: int) -> int:
    try:
        return serve(settings, stop, lambda: _load(link, stop, place), place)
    except REFUSALS:
        raise
    except Exception:
        log.critical("server failed", exc_info=True)
        return FAILED


def _load(link: Link, stop: StopSignal, place: int) -> Any:
    load_server()
    from losswire_server.member import Member  # here, since it loads torch

    return partial(Member, link=link, stop=stop, place=place)


def _name_in_logs(place: int) -> None:
    """Has each record of this process tell its place."""
    make = logging.getLogRecordFactory()

    def make_with_place(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        record.place = place
        return record

    logging.setLogRecordFactory(make_with_place)


if __name__ == "__main__":
    main()
