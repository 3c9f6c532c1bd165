"""The types of settings, and what this machine has of what they ask for."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MIB = 2**20
CORES = os.cpu_count() or 1
MEMORY_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
LIMIT_OF_CGROUP = Path("/sys/fs/cgroup/memory.max")  # as a container sees its own
THREADS_A_CORE = 16  # more gain nothing, and the operating system refuses far more
MOST_THREADS = THREADS_A_CORE * CORES
PROCESSES_A_CORE = 4  # more only take memory from each other
MOST_PROCESSES = PROCESSES_A_CORE * CORES
DAY = 24 * 60 * 60
YEAR = 366 * DAY


class Group(BaseModel):
    """Some of the settings. The text below a field is what ``--help`` says of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def usable_bytes() -> int:
    """The memory of this machine, or that of this process's container if it has less."""
    try:
        told = LIMIT_OF_CGROUP.read_text().strip()
    except OSError:
        return MEMORY_BYTES
    return min(MEMORY_BYTES, int(told)) if told.isdecimal() else MEMORY_BYTES


def no_bool(value: object) -> object:
    if isinstance(value, bool):  # Python takes it for 0 or 1
        raise ValueError("expected a number")  # noqa: TRY004 - what pydantic reports
    return value


def _at_most(limit: int, what: str) -> AfterValidator:
    def check(value: int) -> int:
        if value > limit:
            raise ValueError(f"expected at most {limit}, {what}")
        return value

    return AfterValidator(check)


Whole = Annotated[int, BeforeValidator(no_bool)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=DAY, allow_inf_nan=False)]
Long = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=YEAR, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=10**12, allow_inf_nan=False)]
WithinMemory = Annotated[Whole, _at_most(MEMORY_BYTES, "the memory of this machine")]
WithinThreads = Annotated[Whole, _at_most(MOST_THREADS, f"{THREADS_A_CORE} for each core of this machine")]
WithinProcesses = Annotated[Whole, _at_most(MOST_PROCESSES, f"{PROCESSES_A_CORE} for each core of this machine")]
