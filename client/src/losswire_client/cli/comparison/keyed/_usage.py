"""Which options go with a run, and what those say that the command line has."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from typer import Context

from losswire_client.cli.evaluation.keyed import _usage

NOT_OF_RUNS = {"batch_rows": _usage.NOT_OF_RUNS["batch_rows"]}


def check_usage(context: Context, run: str | None, output: Path | None) -> None:
    """Refuses options that are for runs without one, and those that are not with one.

    Raises:
        BadParameter: There is such an option.
    """
    _usage.check_usage(context, run, output, NOT_OF_RUNS)


def options_given(context: Context, *names: str) -> dict[str, Any]:
    """Those parameters that the command line has, as the SDK names their values."""
    given = _usage.options_given(context, *names)
    return {name: value.replace("-", "_") if isinstance(value, StrEnum) else value for name, value in given.items()}
