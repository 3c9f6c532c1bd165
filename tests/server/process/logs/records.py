"""Logs for a moment, and reads what came to standard error."""

import json
import logging
from collections.abc import Callable
from typing import Any

from losswire_server.process import logs

LOGGER = logging.getLogger("losswire_server")


def logged(log: Callable[[], object], capfd: Any, format: str = "json", level: str = "info") -> str:
    """What is on standard error after something was logged."""
    capfd.readouterr()
    with logs.configured(level, format):
        log()
    said: str = capfd.readouterr().err
    return said


def entries(log: Callable[[], object], capfd: Any, level: str = "info") -> list[dict[str, Any]]:
    """The records that were logged, without those that tell how many were left out."""
    lines = [json.loads(line) for line in logged(log, capfd, level=level).splitlines()]
    return [line for line in lines if line["event"] != "records left out"]
