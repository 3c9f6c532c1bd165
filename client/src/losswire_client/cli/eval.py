"""``losswire eval``: the loss of files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Exit, Option

from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import complain
from losswire_client.cli._output import stdout, write_json
from losswire_client.cli.evaluation import (
    IGNORE_INDEX,
    Loss,
    Outcome,
    Plan,
    as_json,
    class_weight,
    evaluate_files,
    progress_bar,
    save_picture,
    tables,
)

of_loss, of_files, of_output = (partial(Option, rich_help_panel=panel) for panel in ("Loss", "Files", "Output"))

WireDtype = Literal["float32", "float16", "bfloat16"]


def evaluate(
    connection: Connection,
    files: Annotated[
        list[Path], Argument(metavar="FILE", exists=True, dir_okay=False, help=".npz, .safetensors or .parquet")
    ],
    loss: Annotated[Loss, of_loss(help="As in torch.nn.functional.")] = Loss.CROSS_ENTROPY,
    ignore_index: Annotated[int, of_loss(help="Target of rows that do not count.")] = IGNORE_INDEX,
    label_smoothing: Annotated[
        float, of_loss(min=0, max=1, help="Share of the target that is spread over all classes.")
    ] = 0.0,
    weight: Annotated[
        str | None,
        of_loss(
            metavar="FILE|balanced|complement",
            help="Weights of the classes: a .npy file; a text with a number for each; or how to compute them from the "
            "targets of all files, which are read for that beforehand.",
        ),
    ] = None,
    series: Annotated[str, of_loss(help="Name under which the server's metrics add the loss up.")] = "",
    input_name: Annotated[
        str | None, of_files(help="Array of the logits, or of what the loss takes in their place.")
    ] = None,
    target_name: Annotated[str | None, of_files(help="Array of the targets.")] = None,
    classes_last: Annotated[
        bool,
        of_files(
            "--classes-last",
            help="Logits are (N, T, C) with targets (N, T), as of language models, and not (N, C, T) as in PyTorch.",
        ),
    ] = False,
    batch_rows: Annotated[
        int | None, of_files(min=1, help="Rows of one evaluation; 8 MB of them if not given.")
    ] = None,
    wire_dtype: Annotated[
        WireDtype | None, of_files(help="Send logits in a narrower dtype: fewer bytes, less precision.")
    ] = None,
    per_class: Annotated[
        bool, of_output("--per-class", help="Also the rows, mean loss and recall of each class.")
    ] = False,
    json: Annotated[bool, of_output("--json", help="Write JSON.")] = False,
    plot: Annotated[
        Path | None,
        of_output(callback=_figure.picture_path, help="Draw the histogram of the rows' losses: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Evaluate files of logits and targets, of any size: exact mean loss, perplexity, accuracy.

    Files are read in chunks and never held in memory. Arrays are found by their usual names: logits, input, scores,
    log_probs, probs; target, targets, label, labels, y. In Parquet, logits are a column of lists, or a column for each
    class: logits_0, logits_1 and so on.

    Of several files, one that cannot be evaluated does not stop the others, but then there is no total and no picture,
    and the exit code is 1. Perplexity is left out where the loss is weighted or smoothed.
    """
    plan = Plan(
        loss=loss,
        ignore_index=ignore_index,
        options=_options(loss, label_smoothing, series, wire_dtype),
        input_name=input_name,
        target_name=target_name,
        classes_last=classes_last,
        batch_rows=batch_rows,
        per_class=per_class,
        histogram=plot is not None,
    )
    if not loss.has_classes:
        _refuse_options_of_classes(plan, weight)
    if weight is not None:
        plan = replace(plan, weight=class_weight(weight, files, plan))
    with connection.client() as client, progress_bar() as progress:
        client.ping()  # tells at once that there is no server, which evaluations would wait for
        outcome = evaluate_files(client, files, plan, progress)
    _show(outcome, plan, json, plot)


def _options(loss: Loss, label_smoothing: float, series: str, wire_dtype: WireDtype | None) -> dict[str, object]:
    if label_smoothing and loss is not Loss.CROSS_ENTROPY:
        raise BadParameter(f"{loss} has no label smoothing", param_hint="--label-smoothing")
    smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
    return {**smoothing, "series": series, "wire_dtype": wire_dtype}


def _refuse_options_of_classes(plan: Plan, weight: str | None) -> None:
    given = {
        "--ignore-index": plan.ignore_index != IGNORE_INDEX,
        "--weight": weight is not None,
        "--classes-last": plan.classes_last,
        "--per-class": plan.per_class,
    }
    for option, is_given in given.items():
        if is_given:
            raise BadParameter(f"{plan.loss} has no classes", param_hint=option)


def _show(outcome: Outcome, plan: Plan, json: bool, plot: Path | None) -> None:
    if json:
        write_json(as_json(outcome, plan))
    else:
        for table in tables(outcome, plan):
            stdout().print(table)
    if plot and outcome.total:
        save_picture(outcome, plan, plot)
    for _, error in outcome.failures:
        complain(error)
    if outcome.failures:
        raise Exit(outcome.exit_code)
