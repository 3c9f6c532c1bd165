"""Processes of tests. No process outlives its test."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

Command = Sequence[str | os.PathLike[str]]
SECONDS = 220.0  # less than the timeout of a test


@contextmanager
def started(command: Command, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is killed at the end of the block, with all processes that it has started."""
    with subprocess.Popen(command, process_group=0, **options) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(
    command: Command, *, seconds: float = SECONDS, check: bool = False, input: Any = None, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """Does the same as ``subprocess.run``, within so many seconds."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with started(command, **options) as process:
        output, errors = process.communicate(input, timeout=seconds)
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


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
