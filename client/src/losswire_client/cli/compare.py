"""``losswire compare``: how far a model's distributions are from another's."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from losswire_client._readers import sources
from losswire_client._readers.sides import PairChoice, PairSource
from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._heads import HELP, known, read_head
from losswire_client.cli.comparison import (
    IGNORE_INDEX,
    Divergence,
    Plan,
    RowWriter,
    Tail,
    choices,
    compare_files,
    end,
    output_path,
    save_picture,
    show,
)
from losswire_client.cli.evaluation import progress_bar

of_divergence, of_files, of_run, of_output = (
    partial(Option, rich_help_panel=panel) for panel in ("Divergence", "Files", "Run", "Output")
)


def compare(
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
    split: Annotated[str | None, of_files(help="Split of a folder of a Hugging Face DatasetDict.")] = None,
    batch_rows: Annotated[
        int | None, of_files(min=1, help="Rows of one evaluation; 8 MB of them if not given.")
    ] = None,
    series: Annotated[str, of_divergence(help="Name under which the server's metrics add the divergences up.")] = "",
    fail_on_nonfinite: Annotated[
        bool, of_output("--fail-on-nonfinite", help="End with exit code 1 if a divergence is NaN or infinite.")
    ] = False,
    json: Annotated[bool, of_output("--json", help="Write JSON.")] = False,
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
    """
    _check(divergence, beta, head, head_a, head_b, tail)
    read = read_head(head, "--head")
    heads = read or read_head(head_a, "--head-a"), read or read_head(head_b, "--head-b")
    given = pairs(reference, candidate, labels_file)
    if output and output.suffix.lower() == ".npy" and len(given) > 1:
        raise BadParameter("of several files, .csv and .parquet tell which a row is of", param_hint="--output")
    with connection.client() as client, progress_bar() as progress, RowWriter(output) as rows:
        client.ping()  # fails at once without a server, for which evaluations would wait
        plan = Plan(
            divergence=divergence,
            beta=beta,
            temperature=temperature,
            tail=tail,
            reference_head=known(client, heads[0]),
            candidate_head=known(client, heads[1]),
            ignore_index=ignore_index,
            batch_rows=batch_rows,
            with_reference=bool(plot) or rows.is_open,
            series=series,
        )
        sides = choices(plan, (name_a, name_b), classes, split)
        plan = replace(plan, choice=PairChoice(*sides, labels, mask_name, shift))
        outcome = compare_files(client, given, plan, progress, rows.add)
        if outcome.total:
            rows.keep()
    show(outcome, plan, output, json=json)
    if plot and outcome.total:
        save_picture(outcome.total.sums, outcome.total.changes, plan, plot)
    end(outcome, fail_on_nonfinite=fail_on_nonfinite)


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
