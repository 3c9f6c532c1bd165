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
from losswire_client.cli.readers import Selection, Source, sources

of_loss, of_files, of_output = (partial(Option, rich_help_panel=panel) for panel in ("Loss", "Files", "Output"))

WireDtype = Literal["float32", "float16", "bfloat16"]


def evaluate(
    connection: Connection,
    files: Annotated[
        list[Path],
        Argument(metavar="FILE", exists=True, help=".npz, .npy, .safetensors, .parquet, .arrow, .csv; or a folder"),
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
    input_columns: Annotated[
        str | None,
        of_files(metavar="PATTERN", help="Columns of a table that have a class each, as in 'c*': c0, c1, ..."),
    ] = None,
    target_file: Annotated[
        list[Path] | None,
        of_files(
            exists=True, dir_okay=False, help="File of the targets, if it is another: one for each FILE or for all."
        ),
    ] = None,
    mask_name: Annotated[
        str | None,
        of_files(help="Array of 1 where a target counts and 0 where it does not, such as attention_mask."),
    ] = None,
    split: Annotated[str | None, of_files(help="Split of a folder of a Hugging Face DatasetDict.")] = None,
    classes_last: Annotated[
        bool,
        of_files(
            "--classes-last",
            help="Logits are (N, T, C) with targets (N, T), as of language models, and not (N, C, T) as in PyTorch.",
        ),
    ] = False,
    shift: Annotated[
        bool,
        of_files(
            "--shift",
            help="Logits predict the next position: logits[:-1] meet labels[1:] in each sequence. Classes are last: "
            "(T, C), (N, T, C), or lists of lists.",
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
    class: logits_0, logits_1 and so on. A folder is one dataset if it is of .npy files, of Hugging Face's save_to_disk
    or of safetensors with an index; else the files in it are evaluated one by one.

    Of several files, one that cannot be evaluated does not stop the others, but then there is no total and no picture,
    and the exit code is 1. Perplexity is left out where the loss is weighted or smoothed.
    """
    plan = Plan(
        loss=loss,
        ignore_index=ignore_index,
        options=_options(loss, label_smoothing, series, wire_dtype),
        selection=Selection(input_name, target_name, input_columns, mask_name, classes_last, shift, split),
        batch_rows=batch_rows,
        per_class=per_class,
        histogram=plot is not None,
    )
    if not loss.has_classes:
        _refuse_options_of_classes(plan, weight)
    given = _sources(files, target_file or [], plan)
    if weight is not None:
        plan = replace(plan, weight=class_weight(weight, given, plan))
    with connection.client() as client, progress_bar() as progress:
        client.ping()  # tells at once that there is no server, which evaluations would wait for
        outcome = evaluate_files(client, given, plan, progress)
    _show(outcome, plan, json, plot)


def _options(loss: Loss, label_smoothing: float, series: str, wire_dtype: WireDtype | None) -> dict[str, object]:
    if label_smoothing and loss is not Loss.CROSS_ENTROPY:
        raise BadParameter(f"{loss} has no label smoothing", param_hint="--label-smoothing")
    smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
    return {**smoothing, "series": series, "wire_dtype": wire_dtype}


def _sources(files: list[Path], target_files: list[Path], plan: Plan) -> list[Source]:
    if plan.selection.input_name and plan.selection.input_columns:
        raise BadParameter("an input has a name or columns, not both", param_hint="--input-columns")
    if len(target_files) not in (0, 1, len(files)):
        problem = f"expected one for each of {len(files)} files or one for all, got {len(target_files)}"
        raise BadParameter(problem, param_hint="--target-file")
    return sources(files, target_files)


def _refuse_options_of_classes(plan: Plan, weight: str | None) -> None:
    given = {
        "--ignore-index": plan.ignore_index != IGNORE_INDEX,
        "--weight": weight is not None,
        "--classes-last": plan.selection.classes_last,
        "--shift": plan.selection.shift,
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
