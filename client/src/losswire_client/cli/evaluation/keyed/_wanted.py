"""What the command line says of a run, beside what the run says of itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from typer import BadParameter

from losswire import v1
from losswire.errors import FieldError
from losswire.runs import check_new_run
from losswire_client import Run
from losswire_client._keys import Terms, is_of_files, terms_of
from losswire_client.cli._failures import CommandError
from losswire_client.cli.evaluation._plan import Loss


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line says of a run. A field is None, or left out of a mapping, where it says nothing.

    Attributes:
        name: Name of the run.
        loss: Its loss.
        options: Options of the loss, by their names in the SDK, but for weights.
        weight: Where the class weights come from.
        by_class: Whether to add up each class by itself too.
        block_rows: Rows of a file that have a key together.
        slice_by: What the slice of a key is.
        labels: What to note about the run.
        expected_keys: How many keys it will have.
        is_whole: Whether the files of this command are all that it will have.
        root: Folder from which the paths of files are their names in keys.
        series: Series of the evaluations.
    """

    name: str
    loss: Loss | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: str | None = None
    by_class: bool | None = None
    block_rows: int | None = None
    slice_by: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    expected_keys: int | None = None
    is_whole: bool = False
    root: Path | None = None
    series: str = ""


def labels_of(texts: list[str]) -> dict[str, str]:
    """The labels of ``--label NAME=VALUE``.

    Raises:
        BadParameter: A text is none, or servers keep no such label.
    """
    labels: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign or name in labels or name in ("block_rows", "slice_by"):
            raise BadParameter(f"expected NAME=VALUE, with another name for each, got {text}", param_hint="--label")
        labels[name] = value
    spec = v1.LossSpec(cross_entropy=v1.CrossEntropy())  # any loss
    try:
        check_new_run(v1.CreateRunRequest(name="any", spec=spec, labels=labels))
    except FieldError as error:
        raise BadParameter(error.problem, param_hint="--label") from error
    return labels


def terms_of_run(run: Run, wanted: Wanted) -> Terms:
    """How the files of a run are put into keys. A run that was begun from elsewhere may leave it open.

    Raises:
        CommandError: Its keys are others, as far as it has any.
    """
    try:
        terms = terms_of(run.labels)
    except ValueError as error:
        raise CommandError(f"the run {run.name} has no blocks of files: {error}") from error
    if terms.block_rows is None and not is_of_files(run):
        problem = "it has no label block_rows, and no keys of files"
        raise CommandError(f"the run {run.name} is not one of losswire eval: {problem}")
    return terms if terms.slice_by or terms.block_rows else Terms(None, wanted.slice_by)


def check_agrees(run: Run, wanted: Wanted, terms: Terms) -> None:
    """Refuses what contradicts a run that is there.

    Raises:
        BadParameter: An option has another value than the run.
    """
    for option, value, there in _compared(run, wanted, terms):
        if value is not None and value != there:
            problem = f"the run {run.name} {_differs(value, there)}"
            raise BadParameter(f"{problem}: leave it out, or choose another run", param_hint=option)


def check_weight(run: Run, weight: Any) -> None:
    """Refuses class weights that are not those of a run.

    Raises:
        BadParameter: They differ.
    """
    if weight is not None and not np.array_equal(weight, run.options.get("weight", np.empty(0))):
        raise BadParameter(f"the run {run.name} has other weights: leave it out", param_hint="--weight")


def _compared(run: Run, wanted: Wanted, terms: Terms) -> Iterator[tuple[str, Any, Any]]:
    """Options, what they say, and what the run has."""
    yield "--loss", wanted.loss, run.loss
    for name, value in wanted.options.items():
        yield f"--{name.replace('_', '-')}", value, run.options.get(name)
    yield "--per-class", wanted.by_class, run.by_class
    yield "--block-rows", wanted.block_rows, terms.block_rows
    yield "--slice-by", wanted.slice_by, terms.slice_by
    for name, value in wanted.labels.items():
        there = run.labels.get(name)
        yield "--label", f"{name}={value}", None if there is None else f"{name}={there}"


def _differs(value: Any, there: Any) -> str:
    came = "" if value is True else f", got {value}"
    return f"was created without it{came}" if there is None or there is False else f"has {there}{came}"
