"""Refuses options that do not go together, before anything is done."""

from collections.abc import Sequence
from pathlib import Path

from typer import BadParameter

from losswire_client._readers import Source
from losswire_client.cli.evaluation._kinds import TAKES, takes
from losswire_client.cli.evaluation._plan import ADDED, IGNORE_INDEX, Loss, Plan


def check_options(plan: Plan, weight: str | None, files: Sequence[Source], output: Path | None) -> None:
    """Checks the options alone, with the loss that was given or chosen.

    Raises:
        BadParameter: An option does not go with the other options.
    """
    for name in ADDED:
        if plan.options.get(name) and plan.loss not in (Loss.CROSS_ENTROPY, Loss.LINEAR_CROSS_ENTROPY):
            raise BadParameter(f"{plan.loss} has no {name.replace('_', ' ')}", param_hint=f"--{name.replace('_', '-')}")
    _check_head(plan)
    if plan.input_kind and not takes(plan.loss, plan.input_kind):
        problem = f"{plan.loss} takes {' or '.join(TAKES[plan.loss])}, not {plan.input_kind}"
        raise BadParameter(problem, param_hint="--input-kind")
    if not plan.loss.has_classes:
        _refuse_options_of_classes(plan, weight)
    if plan.byte_count and plan.bytes_name:
        raise BadParameter("expected one of it and --bytes-name", param_hint="--bytes")
    if (plan.byte_count or plan.bytes_name) and (weight or any(map(plan.options.get, ADDED))):
        problem = "bits per byte need a loss that is neither weighted nor smoothed, without z-loss"
        raise BadParameter(problem, param_hint="--bytes" if plan.byte_count else "--bytes-name")
    if output and output.suffix.lower() == ".npy" and len(files) > 1:
        raise BadParameter("of several files, .csv and .parquet tell which a row is of", param_hint="--output")


def _check_head(plan: Plan) -> None:
    if plan.loss is Loss.LINEAR_CROSS_ENTROPY and not plan.head:
        raise BadParameter(f"{plan.loss} needs --head", param_hint="--loss")
    if plan.head and plan.loss is not Loss.LINEAR_CROSS_ENTROPY:
        raise BadParameter(f"{plan.loss} has no head: expected {Loss.LINEAR_CROSS_ENTROPY}", param_hint="--loss")
    if plan.head and plan.input_kind:
        raise BadParameter("with --head the input is hidden states", param_hint="--input-kind")


def _refuse_options_of_classes(plan: Plan, weight: str | None) -> None:
    given = {
        "--ignore-index": plan.ignore_index != IGNORE_INDEX,
        "--weight": weight is not None,
        "--classes-last": plan.selection.classes_last,
        "--shift": plan.selection.shift,
        "--bytes": plan.byte_count,
        "--bytes-name": plan.bytes_name,
    }
    for option, is_given in given.items():
        if is_given:
            raise BadParameter(f"{plan.loss} has no classes", param_hint=option)
