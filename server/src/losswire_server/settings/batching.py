"""Where losses are computed, and how slabs are put together for that."""

from typing import Self

from pydantic import Field, model_validator

from losswire_server.settings.types import CORES, MOST_THREADS, THREADS_A_CORE, Group, Whole, WithinThreads


class Batching(Group):
    """Where losses are computed, and how slabs are put together for that."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d{1,2})?|all)$")
    """Where losses are computed: `cpu`, `cuda`, one of several GPUs, as in `cuda:1`, or `all` GPUs, a process each."""

    engine_workers: WithinThreads | None = Field(None, ge=1)
    """How many launches run at a time, so that large ones do not hold up small ones; unset, one a core; 1 on a GPU."""

    max_batch_rows: Whole = Field(65536, ge=1, lt=2**31)
    """The most rows of several slabs that are launched together."""

    max_batch_bytes: Whole | None = Field(None, ge=0, lt=2**31)
    """The most input of several slabs that are launched together; unset, 256 KiB on a CPU and 64 MiB on a GPU."""

    max_queue_delay_us: Whole = Field(0, ge=0, le=10**6)
    """Microseconds that a launch waits for more slabs. 0 takes those that wait already, which is best on a CPU."""

    max_queue_rows: Whole = Field(2**27, ge=1, lt=2**48)
    """Rows that may wait for a launch; beyond it, callers are told to try later. No caller gets all of them."""

    torch_threads: WithinThreads = Field(1, ge=1)
    """PyTorch's threads for one launch. They spin while they wait, so more than one pays only with cores to spare."""

    @model_validator(mode="after")
    def _threads_must_fit(self) -> Self:
        workers = self.workers
        if workers * self.torch_threads > MOST_THREADS:
            raise ValueError(
                f"engine_workers times torch_threads must be at most {MOST_THREADS}, {THREADS_A_CORE} for each core: "
                f"got {workers} and {self.torch_threads}"
            )
        return self

    @property
    def workers(self) -> int:
        """How many launches run at a time."""
        return self.engine_workers or (CORES if self.device == "cpu" else 1)
