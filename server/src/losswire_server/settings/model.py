"""The server's settings, defined once: flags, ``LOSSWIRE_*`` variables and a TOML file all come from here."""

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from losswire_server.settings.addresses import Addresses
from losswire_server.settings.batching import Batching
from losswire_server.settings.callers import Callers
from losswire_server.settings.connections import Connections
from losswire_server.settings.heads import HeldHeads
from losswire_server.settings.operation import Operation
from losswire_server.settings.processes import Processes
from losswire_server.settings.runs import KeptRuns
from losswire_server.settings.security import Security
from losswire_server.settings.sizes import MESSAGE_COPIES, Sizes

MOST_FILE_BYTES = 2**20


# --help tells of the last group first.
class Settings(
    Operation,
    KeptRuns,
    HeldHeads,
    Batching,
    Processes,
    Callers,
    Connections,
    Sizes,
    Security,
    Addresses,
    BaseSettings,
):
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

    @model_validator(mode="after")
    def _one_message_must_fit(self) -> Self:
        needed = MESSAGE_COPIES * self.max_message_bytes
        if self.max_inflight_bytes * self.caller_share < needed:
            raise ValueError(
                f"max_inflight_bytes times caller_share must be at least {MESSAGE_COPIES} times max_message_bytes, "
                f"{needed}, or the largest requests never run: got {self.max_inflight_bytes} and {self.caller_share}"
            )
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
    """The TOML file that a flag or a variable has named as `config`: their sources come before this one."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, toml_file=None)

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        if path is None:
            return {}
        try:
            settings = _read(Path(path))
        except OSError as error:
            raise ValueError(f"config: expected a TOML file, got {path!r}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"config: expected a TOML file, got {path!r}: {error}") from error
        if "config" in settings:
            raise ValueError(f"config: expected no other file to be named in {path!r}")
        return settings


def _read(path: Path) -> dict[str, Any]:
    """The settings of a file that may be a pipe, as in ``--config=<(...)``, or a device that never ends."""
    with path.open("rb") as file:
        text = file.read(MOST_FILE_BYTES + 1)
    if len(text) > MOST_FILE_BYTES:
        raise ValueError(f"it has more than {MOST_FILE_BYTES} bytes")
    return tomllib.loads(text.decode())
