"""The server's settings, defined once: flags, ``LOSSWIRE_*`` variables and a TOML file all come from here."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

MIB = 2**20
CORES = os.cpu_count() or 1
MEMORY_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
THREADS_A_CORE = 16  # more gain nothing, and the operating system refuses far more
MOST_THREADS = THREADS_A_CORE * CORES
DAY = 24 * 60 * 60


def _no_bool(value: object) -> object:
    if isinstance(value, bool):  # Python takes it for 0 or 1
        raise ValueError("expected a number")  # noqa: TRY004 - what pydantic reports
    return value


def _at_most(limit: int, what: str) -> AfterValidator:
    def check(value: int) -> int:
        if value > limit:
            raise ValueError(f"expected at most {limit}, {what}")
        return value

    return AfterValidator(check)


Whole = Annotated[int, BeforeValidator(_no_bool)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=DAY, allow_inf_nan=False)]
WITHIN_MEMORY = _at_most(MEMORY_BYTES, "the memory of this machine")
WITHIN_THREADS = _at_most(MOST_THREADS, f"{THREADS_A_CORE} for each core of this machine")


class Settings(BaseSettings):
    """Serves PyTorch's cross-entropy family over gRPC.

    Every setting is also read from a LOSSWIRE_* variable (LOSSWIRE_PORT=50051) and from the file that --config names.
    A flag wins over a variable, and a variable over the file.
    """

    model_config = SettingsConfigDict(
        env_prefix="LOSSWIRE_",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_prog_name="losswire-server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    config: Path | None = None
    """A TOML file with any of these settings, as in `port = 50051`."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; 0.0.0.0 or :: for all interfaces. There is no encryption yet."""

    port: Whole = Field(50051, ge=0, le=65535)
    """Port of the gRPC service; 0 takes a free one."""

    metrics_host: str = Field("127.0.0.1", min_length=1)
    """Address of the Prometheus endpoint."""

    metrics_port: Whole = Field(9464, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 takes a free one."""

    max_message_bytes: Whole = Field(64 * MIB, ge=4096, lt=2**31)
    """The largest request accepted; larger ones get RESOURCE_EXHAUSTED."""

    max_batch_requests: Whole = Field(256, ge=0, lt=2**31)
    """The most requests that one BatchEvaluate may have; 0 turns it off."""

    slab_bytes: Whole = Field(MIB, ge=4096, lt=2**31)
    """The size that callers are told to give slabs. Larger slabs fit caches worse; smaller slabs take more messages."""

    max_inflight_bytes: Annotated[Whole, WITHIN_MEMORY] = Field(512 * MIB, ge=4096)
    """Messages of requests that wait or are evaluated may take this much; beyond it, callers are told to try later."""

    shared_memory_bytes: Annotated[Whole, WITHIN_MEMORY] = Field(1024 * MIB, ge=0)
    """Shared memory that all callers on this machine together may lease; 0 turns shared memory off."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d{1,2})?)$")
    """Where losses are computed: `cpu`, `cuda`, or one of several GPUs, as in `cuda:1`."""

    engine_workers: Annotated[Whole, WITHIN_THREADS] | None = Field(None, ge=1)
    """How many launches run at a time, so that large ones do not hold up small ones; unset, one a core; 1 on a GPU."""

    max_batch_rows: Whole = Field(65536, ge=1, lt=2**31)
    """The most rows of several slabs that are launched together."""

    max_batch_bytes: Whole | None = Field(None, ge=0, lt=2**31)
    """The most input of several slabs that are launched together; unset, 256 KiB on a CPU and 64 MiB on a GPU."""

    max_queue_delay_us: Whole = Field(0, ge=0, le=10**6)
    """Microseconds that a launch waits for more slabs. 0 takes those that wait already, which is best on a CPU."""

    max_queue_rows: Whole = Field(2**27, ge=1, lt=2**48)
    """Rows that may wait for a launch; beyond it, callers are told to try later. No caller gets all of them."""

    torch_threads: Annotated[Whole, WITHIN_THREADS] = Field(1, ge=1)
    """PyTorch's threads for one launch. They spin while they wait, so more than one pays only with cores to spare."""

    max_series: Whole = Field(100, ge=1, le=1_000_000)
    """The most names of series in the metrics; series past the limit are added up as `other`."""

    drain_seconds: Seconds = 0.0
    """On SIGTERM, keep serving this long while health checks already say NOT_SERVING, so that balancers notice."""

    grace_seconds: Seconds = 10.0
    """On SIGTERM, after draining, wait this long for calls under way before they are cancelled."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events to log."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """Log lines for people or for machines; `auto` writes for people if standard error is a terminal."""

    access_log_per_second: Whole = Field(10, ge=0, le=1_000_000)
    """The most calls that are logged in a second, at level info; calls past the limit are counted. 0 logs none."""

    @model_validator(mode="after")
    def _one_message_must_fit(self) -> Self:
        if self.max_inflight_bytes < self.max_message_bytes:
            raise ValueError(
                "max_inflight_bytes must be at least max_message_bytes, or the largest requests never run: "
                f"got {self.max_inflight_bytes} and {self.max_message_bytes}"
            )
        return self

    @model_validator(mode="after")
    def _three_slabs_must_fit(self) -> Self:
        slab_bytes = self.told_slab_bytes
        if self.max_inflight_bytes < 3 * slab_bytes:
            raise ValueError(
                f"max_inflight_bytes must be at least three slabs, {3 * slab_bytes}, or streams never run: "
                f"got {self.max_inflight_bytes}, with slab_bytes and half of max_message_bytes at least {slab_bytes}"
            )
        return self

    @model_validator(mode="after")
    def _threads_must_fit(self) -> Self:
        workers = self.workers
        if workers * self.torch_threads > MOST_THREADS:
            raise ValueError(
                f"engine_workers times torch_threads must be at most {MOST_THREADS}, {THREADS_A_CORE} for each core: "
                f"got {workers} and {self.torch_threads}"
            )
        return self

    @model_validator(mode="after")
    def _ports_must_differ(self) -> Self:
        if self.port and (self.host, self.port) == (self.metrics_host, self.metrics_port):
            raise ValueError(f"metrics_port must differ from port: got {self.port} for both")
        return self

    @property
    def workers(self) -> int:
        """How many launches run at a time."""
        return self.engine_workers or (CORES if self.device == "cpu" else 1)

    @property
    def told_slab_bytes(self) -> int:
        """The slab size that callers are told. A message holds at least two such slabs."""
        return min(self.slab_bytes, self.max_message_bytes // 2)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _ConfigFile(settings_cls)


class _ConfigFile(TomlConfigSettingsSource):
    """The TOML file that a flag or a variable has named as `config`: their sources come before this one."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, toml_file=None)

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        if path is None:
            return {}
        try:
            settings = self._read_file(Path(path))
        except OSError as error:
            raise ValueError(f"config: expected a TOML file, got {path!r}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"config: expected a TOML file, got {path!r}: {error}") from error
        if "config" in settings:
            raise ValueError(f"config: expected no other file to be named in {path!r}")
        return settings
