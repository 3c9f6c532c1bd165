"""The file of tokens: TOML, an entry for each token, with the token's hash and what its caller may do."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from losswire.losses import LOSSES
from losswire_server.calls.limits import CallerLimits
from losswire_server.requests.permission import Permission
from losswire_server.settings.callers import Share
from losswire_server.settings.reading import WrongSettingsError
from losswire_server.settings.types import Rate, Whole
from losswire_server.text import one_line

NAME = re.compile(r"[A-Za-z0-9_.:/@-]{1,64}")
NAME_TOLD = "up to 64 letters, digits and any of _.:/@-"


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"expected {NAME_TOLD}")
    return name


Count = Annotated[Whole, Field(ge=1, lt=2**31)]
Name = Annotated[str, AfterValidator(_checked_name)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class Entry(BaseModel):
    """A token: whose it is, and what it permits. Limits that it does not give are those of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    sha256: Hash
    share: Share | None = None
    requests: Count | None = None
    streams: Count | None = None
    leases: Count | None = None
    requests_per_second: Rate | None = None
    bytes_per_second: Rate | None = None
    losses: tuple[str, ...] | None = None
    series: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    heads: tuple[str, ...] | None = None
    register_heads: bool = True

    @field_validator("losses")
    @classmethod
    def _losses_must_exist(cls, losses: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for loss in losses or ():
            if loss not in LOSSES:
                raise ValueError(f"expected some of {', '.join(LOSSES)}")
        return losses

    @property
    def permission(self) -> Permission:
        """What the entry permits."""
        return Permission(self.losses, self.series, self.runs, self.heads, self.register_heads, self.name)

    @property
    def own_limits(self) -> dict[str, Any]:
        """The limits of `CallerLimits` that the entry gives."""
        given = {name: getattr(self, name) for name in CallerLimits._fields}
        return {name: value for name, value in given.items() if value is not None}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[list[Entry], Field(min_length=1)]

    @model_validator(mode="after")
    def _entries_must_agree(self) -> Self:
        hashes: set[str] = set()
        named: dict[str, Entry] = {}
        for entry in self.tokens:
            if entry.sha256.lower() in hashes:
                raise ValueError(f"expected each hash once, got that of {entry.name} again")
            hashes.add(entry.sha256.lower())
            first = named.setdefault(entry.name, entry)
            if entry.model_copy(update={"sha256": first.sha256}) != first:
                raise ValueError(f"expected the tokens of {entry.name} to permit the same, got different ones")
        return self


def read_entries(file: Path) -> list[Entry]:
    """The entries of a file. A caller may have several tokens, so that a new one is known before the old one goes.

    Raises:
        WrongSettingsError: The file is wrong. The error shows nothing that may be a token.
    """
    try:
        content = tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise WrongSettingsError(f"tokens: expected a TOML file, got {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        problem = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise WrongSettingsError(f"tokens: expected a TOML file, got {str(file)!r}: {problem}") from None
    try:
        return _File.model_validate(content).tokens
    except ValidationError as error:
        raise WrongSettingsError("; ".join(map(_explain, error.errors()))) from None


def _explain(problem: ErrorDetails) -> str:
    """The problem, with a value that is a number: a text may be a token in the wrong place."""
    path = [str(part) for part in problem["loc"] if part != "tokens"]
    text = problem["msg"].removeprefix("Value error, ")
    came = f", got {problem['input']!r}" if isinstance(problem["input"], int | float) else ""
    return one_line(": ".join(filter(None, ("tokens", ".".join(path), f"{text}{came}"))))
