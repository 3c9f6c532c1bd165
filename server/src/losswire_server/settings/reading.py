"""The settings of a command line, and messages about wrong ones."""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from losswire_server.settings import Settings
from losswire_server.text import one_line

PREFIX = "LOSSWIRE_"
NEAR = 0.7
VERY_NEAR = 0.85  # for variables, since other programs have variables too
OF_CALLERS = {"TOKEN"}  # a variable of the SDK's, which is near one of ours


class WrongSettingsError(ValueError):
    """Wrong settings. The message has a line for each of them."""


def read_settings(args: list[str]) -> Settings:
    """The settings of flags, variables and the file that they name. Ends the process for ``--help`` and ``--version``.

    Raises:
        WrongSettingsError: A setting is unknown or wrong.
    """
    source: CliSettingsSource[Settings] = CliSettingsSource(Settings, cli_exit_on_error=False)
    parser: Any = source.root_parser
    parser.add_argument("--version", action="version", version=f"losswire-server {version('losswire-server')}")
    try:
        return CliApp.run(Settings, args, cli_settings_source=source, cli_exit_on_error=False)
    except ValidationError as error:
        raise WrongSettingsError("\n".join(map(_explain, error.errors()))) from error
    except SettingsError as error:
        raise WrongSettingsError(_explain_flag(str(error), args)) from error
    except ValueError as error:
        raise WrongSettingsError(one_line(str(error))) from error


def mistyped_variables() -> dict[str, str]:
    """Variables that look like misspelled settings, and the settings that were probably meant."""
    settings = [name.upper() for name in Settings.model_fields]
    given = [name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)]
    unknown = [name for name in given if name not in settings and name not in OF_CALLERS]
    near = {name: get_close_matches(name, settings, 1, VERY_NEAR) for name in unknown}
    return {f"{PREFIX}{name}": f"{PREFIX}{found[0]}" for name, found in near.items() if found}


def _explain(problem: ErrorDetails) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {one_line(name)}{_did_you_mean(name, Settings.model_fields)}"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {text}, got {one_line(repr(problem['input']))}" if name else text


def _explain_flag(text: str, args: list[str]) -> str:
    flags = [f"--{prefix}{name.replace('_', '-')}" for name in Settings.model_fields for prefix in _prefixes(name)]
    flags += ["--help", "--version"]
    given = (re.split("[= ]", arg)[0] for arg in args if arg.startswith("-"))
    unknown = next((flag for flag in given if flag not in (*flags, "-h")), None)
    if unknown is None or "unrecognized" not in text:
        return one_line(text.removeprefix("error parsing CLI: "))
    return f"unknown flag {one_line(unknown)}{_did_you_mean(unknown, flags)}"


def _prefixes(name: str) -> Sequence[str]:
    return ("", "no-") if Settings.model_fields[name].annotation is bool else ("",)


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    found = get_close_matches(name, list(names), 1, NEAR)
    return f"; did you mean {found[0]}?" if found else ""
