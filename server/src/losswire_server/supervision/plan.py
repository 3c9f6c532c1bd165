"""What each process of a server is told to do."""

import subprocess
import sys
from collections.abc import Callable

from pydantic import ValidationError

from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError
from losswire_server.settings.types import CORES, MOST_THREADS, THREADS_A_CORE

DIVIDED = ("max_inflight_bytes", "shared_memory_bytes", "max_queue_rows")
COUNT_DEVICES = "import torch; print(torch.cuda.device_count())"
COUNT_SECONDS = 120


def needs_supervisor(settings: Settings) -> bool:
    """Whether a server with these settings is more than one process."""
    return settings.processes > 1 or settings.device == "all"


def count_devices() -> int:
    """How many GPUs PyTorch finds. Asks a process of its own, since that loads torch."""
    command = [sys.executable, "-c", COUNT_DEVICES]
    asked = subprocess.run(command, capture_output=True, timeout=COUNT_SECONDS, check=False)  # noqa: S603 - our own text
    return int(asked.stdout) if asked.returncode == 0 else 0


def plan(settings: Settings, count_devices: Callable[[], int] = count_devices) -> list[Settings]:
    """The settings of each process, which together have no more than the whole.

    Raises:
        WrongSettingsError: A part would be too little to serve with, or there is no GPU.
    """
    devices = _devices(settings, count_devices)
    parts = [_part(settings, device, len(devices)) for device in devices]
    threads = sum(part.workers * part.torch_threads for part in parts)
    if threads > MOST_THREADS:
        raise WrongSettingsError(
            f"processes: engine_workers times torch_threads of all {len(parts)} together must be at most "
            f"{MOST_THREADS}, {THREADS_A_CORE} for each core: got {threads}"
        )
    return parts


def _devices(settings: Settings, count_devices: Callable[[], int]) -> list[str]:
    """The device of each process."""
    if settings.device != "all":
        return [settings.device] * settings.processes
    if settings.processes > 1:
        raise WrongSettingsError(
            f"processes: expected none with device=all, which runs one for each GPU, got {settings.processes}"
        )
    count = count_devices()
    if not count:
        raise WrongSettingsError("device: expected all only where PyTorch finds a GPU, and it finds none")
    return [f"cuda:{number}" for number in range(count)]


def _part(settings: Settings, device: str, processes: int) -> Settings:
    workers = max(1, CORES // processes) if device == "cpu" else 1
    changed = {
        "config": None,  # it has been read, and may say something else by now
        "processes": 1,
        "device": device,
        "engine_workers": settings.engine_workers or workers,
        "head_bytes": settings.most_head_bytes // processes,
        "access_log_per_second": -(-settings.access_log_per_second // processes),
        **{name: getattr(settings, name) // processes for name in DIVIDED},
    }
    try:
        return Settings(**{**settings.model_dump(), **changed})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise WrongSettingsError(f"processes: each of {processes} has its part of the memory: {problem}") from error
