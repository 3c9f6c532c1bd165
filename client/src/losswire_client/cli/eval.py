"""``losswire eval``: the loss of files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Context, Option

from losswire_client._readers import Kind, Selection, Source, sources
from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._heads import HELP, given_head
from losswire_client.cli._output import output_path
from losswire_client.cli.evaluation import (
    IGNORE_INDEX,
    Loss,
    Plan,
    check_loss_options,
    check_options,
    class_weight,
    end,
    evaluate_files,
    keyed,
    progress_bar,
    row_writer,
    save_picture,
    show,
    with_head,
    with_loss,
)
from losswire_client.cli.evaluation._options import (
    BatchRows,
    ExpectedKeys,
    Finish,
    Json,
    RunLabels,
    RunName,
    Split,
    of_files,
    of_output,
    of_run,
)

of_loss = partial(Option, rich_help_panel="Loss")

WireDtype = Literal["float32", "float16", "bfloat16"]


def evaluate(
    context: Context,
    connection: Connection,
    files: Annotated[
        list[Path],
        Argument(metavar="FILE", exists=True, help=".npz, .npy, .safetensors, .parquet, .arrow, .csv; or a folder"),
    ],
    loss: Annotated[
        Loss | None,
        of_loss(help="As in torch.nn.functional; chosen by what the first file's input holds if not given."),
    ] = None,
    ignore_index: Annotated[int, of_loss(help="Target of rows that do not count.")] = IGNORE_INDEX,
    label_smoothing: Annotated[
        float, of_loss(min=0, max=1, help="Share of the target that is spread over all classes.")
    ] = 0.0,
    z_loss: Annotated[
        float, of_loss(min=0, help="Factor of the squared log-sum-exp that is added to each row's loss.")
    ] = 0.0,
    head: Annotated[
        str | None,
        of_loss(metavar="HEAD", help=f"Files have hidden states, and this is their head: {HELP}"),
    ] = None,
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
    input_kind: Annotated[
        Kind | None,
        of_files(help="What the input holds, which its name says if this does not: logits_test, log_probs, probs."),
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
    split: Split = None,
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
    batch_rows: BatchRows = None,
    wire_dtype: Annotated[
        WireDtype | None, of_files(help="Send logits in a narrower dtype: fewer bytes, less precision.")
    ] = None,
    run: RunName = None,
    block_rows: Annotated[
        int | None,
        of_run(min=1, help="Rows of a file that have a key together; the run keeps it. 8 MB of them if not given."),
    ] = None,
    slice_by: Annotated[
        str | None,
        of_run(
            metavar="file|folder|NAME",
            help="Add up each file by itself too, or the files of each folder, or the rows by an array.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        of_run(
            exists=True,
            file_okay=False,
            help="Folder from which the paths of files are their names in keys, which else are their own names.",
        ),
    ] = None,
    label: RunLabels = None,
    expected_keys: ExpectedKeys = None,
    finish: Finish = False,
    per_class: Annotated[
        bool, of_output("--per-class", help="Also the rows, mean loss and recall of each class.")
    ] = False,
    byte_count: Annotated[
        int | None,
        of_output("--bytes", min=1, help="Bytes of the text of all files together: shows bits per byte."),
    ] = None,
    bytes_name: Annotated[
        str | None, of_output(help="Array of the bytes of each row's text: shows bits per byte.")
    ] = None,
    fail_on_nonfinite: Annotated[
        bool, of_output("--fail-on-nonfinite", help="End with exit code 1 if a loss is NaN or infinite.")
    ] = False,
    json: Json = False,
    output: Annotated[
        Path | None,
        of_output(callback=output_path, help="Write each row's loss: .csv, .parquet or .npy; or the results: .json."),
    ] = None,
    plot: Annotated[
        Path | None,
        of_output(callback=_figure.picture_path, help="Draw the histogram of the rows' losses: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Evaluate files of logits and targets, of any size: exact mean loss, perplexity, accuracy.

    Files are read in chunks and never held in memory. Arrays are found by their usual names: logits, input, scores,
    log_probs, probs; target, targets, label, labels, y. In Parquet, logits are a column of lists, or a column for each
    class: logits_0, logits_1 and so on. A folder is one dataset if it consists of .npy files, was written by Hugging
    Face's save_to_disk, or has safetensors with an index. The files in any other folder are evaluated one by one.

    The input's name says what it holds, and --loss may not contradict it, unless --input-kind does. Without --loss,
    logits are evaluated by cross_entropy and log-probabilities by nll_loss. Probabilities need --input-kind or --loss.
    With --head the input is hidden states, with their numbers last: hidden_states, hidden, last_hidden_state, input.

    A file that cannot be evaluated does not stop the other files. But then there is no total, no picture and no output,
    and the exit code is 1. Perplexity is left out if the loss is weighted or smoothed, or has a z-loss.

    With --run each block of rows of a file has a key, and counts once in a run that the server keeps. A command that
    was stopped goes on when it is started again, and several machines may evaluate the same files at once. What is
    shown is what the run has come to.
    """
    added = {"label_smoothing": label_smoothing, "z_loss": z_loss}
    check_loss_options(**added, ignore_index=ignore_index, series=series, wire_dtype=wire_dtype)
    plan = Plan(
        loss=loss or Loss.CROSS_ENTROPY,
        input_kind=input_kind,
        ignore_index=ignore_index,
        options={name: value for name, value in added.items() if value},
        selection=Selection(input_name, target_name, input_columns, mask_name, classes_last, shift, split),
        batch_rows=batch_rows,
        per_class=per_class,
        histogram=plot is not None,
        byte_count=byte_count,
        bytes_name=bytes_name,
    )
    plan = with_head(plan, given_head(connection, head))
    given = _sources(files, target_file or [], plan)
    keyed.check_usage(context, run, output)
    if run is not None:
        wanted = keyed.Wanted(
            name=run,
            loss=loss,
            options=keyed.options_given(context, "ignore_index", "label_smoothing", "z_loss")
            | ({"head": plan.head.digest} if plan.head else {}),
            weight=weight,
            by_class=per_class or None,
            block_rows=block_rows,
            slice_by=slice_by,
            labels=keyed.labels_of(label or []),
            expected_keys=expected_keys,
            is_whole=finish,
            root=root,
            series=series,
        )
        plan = replace(plan, options={**plan.options, "wire_dtype": wire_dtype})
        keyed.evaluate_in_run(
            *(connection, wanted, given, plan),
            finish=finish,
            fail_on_nonfinite=fail_on_nonfinite,
            json=json,
            output=output,
        )
        return
    plan = plan if loss else with_loss(plan, given)
    check_options(plan, weight, given, output)
    plan = replace(plan, options={**plan.options, "series": series, "wire_dtype": wire_dtype})
    if weight is not None:
        plan = replace(plan, weight=class_weight(weight, given, plan))
    with connection.client() as client, progress_bar() as progress, row_writer(output) as rows:
        client.ping()  # fails at once without a server, for which evaluations would wait
        outcome = evaluate_files(client, given, plan, progress, rows.add)
        if outcome.total:
            rows.keep()
    show(outcome, plan, output, json=json)
    if plot and outcome.total:
        save_picture(outcome, plan, plot)
    end(outcome, fail_on_nonfinite=fail_on_nonfinite)


def _sources(files: list[Path], target_files: list[Path], plan: Plan) -> list[Source]:
    if plan.selection.input_name and plan.selection.input_columns:
        raise BadParameter("an input has a name or columns, not both", param_hint="--input-columns")
    if len(target_files) not in (0, 1, len(files)):
        problem = f"expected one for each of {len(files)} files or one for all, got {len(target_files)}"
        raise BadParameter(problem, param_hint="--target-file")
    return sources(files, target_files)
