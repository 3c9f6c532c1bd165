"""Starts a Ray cluster on a machine that may be slow."""

from importlib import import_module
from typing import Any


def start_ray(**options: Any) -> Any:
    """As ``ray.init``, tried again if the node was not there in time: Ray gives it 30 seconds, whatever it is told."""
    ray = import_module("ray")  # which takes a second, and most tests need none
    start = ray.worker.init
    try:
        return start(**options)
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        ray.shutdown()
        return start(**options)
