"""``losswire compare``: how far a model's distributions are from another's."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Context, Option

from losswire_client._readers import sources
from losswire_client._readers.sides import Choice, PairChoice, PairSource
from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._heads import HELP, given_head
from losswire_client.cli._output import output_path
from losswire_client.cli.comparison import (
    IGNORE_INDEX,
    Divergence,
    Plan,
    Tail,
    Told,
    check_options,
    compare_alone,
    compare_keyed,
    keyed,
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

of_divergence = partial(Option, rich_help_panel="Divergence")

SliceBy = Literal["file", "folder"]


def compare(
    context: Context,
    connection: Connection,
    reference: Annotated[
        Path,
        Argument(
            metavar="A", exists=True, help="File or folder of the reference, as the original model, or a teacher."
        ),
    ],
    candidate: Annotated[
        Path,
        Argument(
            metavar="B", exists=True, help="File or folder of the candidate, as its quantised form, or a student."
        ),
    ],
    divergence: Annotated[
        Divergence, of_divergence(help="KL(A || B), KL(B || A), or Jensen and Shannon's.")
    ] = Divergence.FORWARD,
    beta: Annotated[
        float | None, of_divergence(help="Share of A in the mixture of jensen-shannon, in (0, 1); 0.5 if not given.")
    ] = None,
    temperature: Annotated[float, of_divergence(help="What the logits of both are divided by.")] = 1.0,
    tail: Annotated[
        Tail | None,
        of_divergence(
            help="A has log-probabilities of some classes. Of the others this becomes: both are scaled to the named "
            "classes; or the others are one class more; or they are left out."
        ),
    ] = None,
    ignore_index: Annotated[int, of_divergence(help="Label of rows that do not count.")] = IGNORE_INDEX,
    head: Annotated[
        str | None, of_files(metavar="HEAD", help=f"Both have hidden states, and this is their head: {HELP}")
    ] = None,
    head_a: Annotated[str | None, of_files(metavar="HEAD", help="A has hidden states, with this head.")] = None,
    head_b: Annotated[str | None, of_files(metavar="HEAD", help="B has hidden states, with this head.")] = None,
    name_a: Annotated[str | None, of_files(help="Array of A, if it has none of the usual names.")] = None,
    name_b: Annotated[str | None, of_files(help="Array of B.")] = None,
    classes: Annotated[
        str | None, of_files(help="With --tail, array of A with the classes of the log-probabilities.")
    ] = None,
    labels: Annotated[
        str | None, of_files(help="Array with a class for each row, such as the token that came; of A, or else of B.")
    ] = None,
    labels_file: Annotated[
        Path | None, of_files(exists=True, dir_okay=False, help="File of the labels, if it is another.")
    ] = None,
    mask_name: Annotated[
        str | None, of_files(help="Array beside the labels of 1 where a label counts and 0 where it does not.")
    ] = None,
    shift: Annotated[
        bool, of_files("--shift", help="Rows predict the next position: logits[:-1] meet labels[1:] in each sequence.")
    ] = False,
    split: Split = None,
    batch_rows: BatchRows = None,
    series: Annotated[str, of_divergence(help="Name under which the server's metrics add the divergences up.")] = "",
    run: RunName = None,
    block_rows: Annotated[
        int | None,
        of_run(min=1, help="Rows that have a key together; the run keeps it. 8 MB of them if not given."),
    ] = None,
    slice_by: Annotated[
        SliceBy | None, of_run(help="Add up each file by itself too, or the files of each folder, by the names of B.")
    ] = None,
    root: Annotated[
        Path | None,
        of_run(
            exists=True,
            file_okay=False,
            help="Folder from which the paths of B are names in keys, which else are the files' own names.",
        ),
    ] = None,
    label: RunLabels = None,
    expected_keys: ExpectedKeys = None,
    finish: Finish = False,
    fail_on_nonfinite: Annotated[
        bool, of_output("--fail-on-nonfinite", help="End with exit code 1 if a divergence is NaN or infinite.")
    ] = False,
    json: Json = False,
    output: Annotated[
        Path | None,
        of_output(
            callback=output_path, help="Write each row's divergence: .csv, .parquet or .npy; or the results: .json."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        of_output(
            callback=_figure.picture_path,
            help="Draw the histograms of the divergences and of the changes of log-probability: .png, .svg or .pdf.",
        ),
    ] = None,
) -> None:
    """Compare two models by their distributions in files: how far B is from A, row by row.

    Files are as those of losswire eval, and classes are their last dimension: logits, log-probabilities, probabilities,
    or with a head hidden states. Base files of llama.cpp are read too. Folders are compared file by file. Labels are
    found by their usual names, in A or else in B, and tell of perplexity; without labels there is none.

    The numbers follow from exact sums, so that they are the same however rows are cut into evaluations. Quantiles are
    within 1 % of those of the rows.

    With --run each block of rows has a key, and counts once in a run that the server keeps. A command that was stopped
    goes on when it is started again, and several machines may compare the same files at once. What is shown is what the
    run has come to.
    """
    _check(divergence, beta, head, head_a, head_b, tail)
    if classes is not None and tail is None:
        raise BadParameter("it needs --tail", param_hint="--classes")
    keyed.check_usage(context, run, output)
    check_options(divergence, tail, series, beta=beta, temperature=temperature, ignore_index=ignore_index)
    given = pairs(reference, candidate, labels_file)
    if output and output.suffix.lower() == ".npy" and len(given) > 1:
        raise BadParameter("of several files, .csv and .parquet tell which a row is of", param_hint="--output")
    both = given_head(connection, head, "--head")
    plan = Plan(
        divergence=divergence,
        beta=beta,
        temperature=temperature,
        tail=tail,
        reference_head=both or given_head(connection, head_a, "--head-a"),
        candidate_head=both or given_head(connection, head_b, "--head-b"),
        ignore_index=ignore_index,
        choice=PairChoice(
            Choice(name=name_a, option="--name-a", classes_name=classes, split=split),
            Choice(name=name_b, option="--name-b", split=split),
            labels,
            mask_name,
            shift,
        ),
        batch_rows=batch_rows,
        with_reference=bool(plot or output),
        series=series,
    )
    told = Told(output, plot, fail_on_nonfinite=fail_on_nonfinite, json=json)
    if run is None:
        compare_alone(connection, given, plan, told)
        return
    wanted = keyed.Wanted(
        name=run,
        options=keyed.options_given(context, "divergence", "beta", "temperature", "tail", "ignore_index"),
        block_rows=block_rows,
        slice_by=slice_by,
        labels=keyed.labels_of(label or []),
        expected_keys=expected_keys,
        is_whole=finish,
        root=root,
        series=series,
    )
    compare_keyed(connection, wanted, given, plan, told)


def pairs(reference: Path, candidate: Path, labels: Path | None) -> list[PairSource]:
    """The pairs of two files, or of the files of two folders in their order."""
    found = [[source.path for source in sources([path])] for path in (reference, candidate)]
    if len(found[0]) != len(found[1]):
        counts = f"{reference} has {len(found[0])} files, and {candidate} has {len(found[1])}"
        raise BadParameter(f"{counts}: expected one for each", param_hint="B")
    if labels and len(found[0]) > 1:
        raise BadParameter("folders have the labels in their files", param_hint="--labels-file")
    return [PairSource(first, second, labels) for first, second in zip(*found, strict=True)]


def _check(
    divergence: Divergence,
    beta: float | None,
    head: str | None,
    head_a: str | None,
    head_b: str | None,
    tail: Tail | None,
) -> None:
    """Refuses options that do not go together."""
    if beta is not None and divergence is not Divergence.JENSEN_SHANNON:
        raise BadParameter(f"the {divergence} divergence has no mixture", param_hint="--beta")
    if head and (head_a or head_b):
        raise BadParameter("expected it, or --head-a and --head-b", param_hint="--head")
    if tail and (head or head_a):
        option = "--head" if head else "--head-a"
        raise BadParameter("with --tail A has log-probabilities of some classes: give --head-b", param_hint=option)
