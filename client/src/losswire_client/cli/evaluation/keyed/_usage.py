"""Which options the command line has, and which of them go with a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer import BadParameter, Context

OF_RUNS = ("block_rows", "slice_by", "root", "label", "expected_keys", "finish")
NOT_OF_RUNS = {
    "batch_rows": "with --run the rows of one evaluation are those of a key: choose them with --block-rows",
    "byte_count": "a run knows no bytes",
    "bytes_name": "a run knows no bytes",
    "plot": "a run keeps sums, and no rows",
}


def options_given(context: Context, *names: str) -> dict[str, Any]:
    """Those parameters that the command line has."""
    return {name: context.params[name] for name in names if _is_given(context, name)}


def check_usage(
    context: Context, run: str | None, output: Path | None, not_of_runs: Mapping[str, str] = NOT_OF_RUNS
) -> None:
    """Refuses options that are for evaluations in a run without one, and those that are not with one.

    Raises:
        BadParameter: There is such an option.
    """
    wrong: Mapping[str, str] = not_of_runs if run is not None else dict.fromkeys(OF_RUNS, "it needs --run")
    for name, problem in wrong.items():
        if _is_given(context, name):
            raise BadParameter(problem, param_hint=_option(context, name))
    if run is not None and output and output.suffix.lower() != ".json":
        raise BadParameter("a run keeps sums, and no rows: expected a name that ends in .json", param_hint="--output")


def _is_given(context: Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(context: Context, name: str) -> str:
    return next(parameter.opts[0] for parameter in context.command.params if parameter.name == name)
