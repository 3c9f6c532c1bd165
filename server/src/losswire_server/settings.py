"""The server's settings, defined once: flags, ``LOSSWIRE_*`` variables and a TOML file all come from here."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

MIB = 2**20


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

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 or :: for all interfaces. There is no encryption yet."""

    port: int = Field(50051, ge=0, le=65535)
    """Port of the gRPC service; 0 takes a free one."""

    metrics_host: str = "127.0.0.1"
    """Address of the Prometheus endpoint."""

    metrics_port: int = Field(9464, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 takes a free one."""

    max_message_bytes: int = Field(64 * MIB, ge=4096, lt=2**31)
    """The largest request accepted; larger ones get RESOURCE_EXHAUSTED."""

    max_batch_requests: int = Field(256, ge=0)
    """The most requests that one BatchEvaluate may have; 0 turns it off."""

    slab_bytes: int = Field(MIB, ge=4096, lt=2**31)
    """How large callers are told to make the slabs of a stream. Larger ones fit caches worse, smaller ones are more."""

    max_inflight_bytes: int = Field(512 * MIB, ge=4096)
    """Messages of requests being evaluated or waiting may take this much; past it, new ones are told to come back."""

    shared_memory_bytes: int = Field(1024 * MIB, ge=0)
    """Callers on this machine may lease this much shared memory together; 0 turns shared memory off."""

    engine_workers: int | None = Field(None, ge=1)
    """Batches evaluated at the same time, so that a large one does not hold up small ones; unset, one for each core."""

    torch_threads: int = Field(1, ge=1)
    """Threads of PyTorch's for one batch. They spin while they wait, so more than one pays only with cores to spare."""

    max_series: int = Field(100, ge=1)
    """Distinct names of series in the metrics; those past the limit are added up as `other`."""

    drain_seconds: float = Field(0.0, ge=0)
    """On SIGTERM, keep serving this long while health checks already say NOT_SERVING, so that balancers notice."""

    grace_seconds: float = Field(10.0, ge=0)
    """On SIGTERM, after draining, wait this long for calls under way before they are cancelled."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events to log."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """Log lines for people or for machines; `auto` writes for people if standard error is a terminal."""

    @model_validator(mode="after")
    def _one_message_must_fit(self) -> Self:
        if self.max_inflight_bytes < self.max_message_bytes:
            raise ValueError("max_inflight_bytes must be at least max_message_bytes, or the largest requests never run")
        return self

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
    """The TOML file that a source before this one, a flag or a variable, has named as `config`."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, toml_file=None)

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        return self._read_file(Path(path)) if path else {}
