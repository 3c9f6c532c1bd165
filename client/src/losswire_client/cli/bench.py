"""``losswire bench``: a server's performance under load, measured from here."""

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from typer import BadParameter, Option

from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._heads import HELP, GivenHead, given_head
from losswire_client.cli._output import stderr, stdout, write_json
from losswire_client.cli.load import (
    TURNS,
    Arrivals,
    Case,
    Shape,
    as_json,
    measure,
    save_picture,
    shortfalls,
    table,
    write_csv,
)

SHAPES = ["32x10", "256x32000"]
CONCURRENCY = [1, 32]
CONCURRENCY_AT_A_RATE = [64]
Transport = Literal["auto", "unary", "stream", "shared_memory"]
Dtype = Literal["float64", "float32", "float16", "bfloat16"]
Loss = Literal[
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "linear_cross_entropy",
    "kl_divergence",
]
Spacing = Literal["constant", "poisson"]


def bench(
    connection: Connection,
    shape: Annotated[
        list[str], Option(metavar="ROWSxCLASSES", help="Shape of a batch; may be given several times.")
    ] = SHAPES,
    concurrency: Annotated[
        list[int] | None,
        Option(
            min=1,
            help="Callers at a time; may be given several times. By default 1 and 32; with --rate 64 in flight.",
        ),
    ] = None,
    rate: Annotated[
        float | None, Option(min=0.001, help="Calls a second that are due, whether or not others were answered.")
    ] = None,
    arrivals: Annotated[
        Spacing | None,
        Option(help="With --rate: calls at equal intervals, the default, or at random as from many users."),
    ] = None,
    seconds: Annotated[float, Option(min=0.01, help="How long each case is measured.")] = 3.0,
    loss: Annotated[Loss, Option(help="The loss to evaluate, on random batches.")] = "cross_entropy",
    head: Annotated[
        str | None, Option(metavar="HEAD", help=f"Of linear_cross_entropy, whose shapes are ROWSxWIDTH: {HELP}")
    ] = None,
    grad: Annotated[bool, Option("--grad", help="Ask for gradients too.")] = False,
    dtype: Annotated[Dtype, Option(help="Of the logits.")] = "float32",
    transport: Annotated[Transport, Option(help="How batches travel.")] = "auto",
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
    csv: Annotated[
        str | None, Option(metavar="FILE", help="Write CSV, a line a case and turn; - for standard output.")
    ] = None,
    plot: Annotated[
        Path | None,
        Option(callback=_figure.picture_path, help="Draw latencies and throughput: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Measure the latency and throughput of a loss on a server, from here.

    Each case is a batch shape and a number of callers. Callers are threads of this process that send random logits (or
    what the loss takes). Each sends its next batch when the last one is answered. The cases are warmed up, then
    measured in three turns, each with a third of the time. Evaluations per second are the median of the turns, and
    percentiles are of all evaluations.

    With --rate, calls are due by a schedule instead, and latency counts from when a call was due: a stall shows in all
    the calls that it kept waiting. If no caller is free, a call is made as soon as one is. Standard error says if this
    process could not keep up.

    With many callers and small batches, this process is the bottleneck: run several at once to load a server. MB/s
    counts inputs, targets and gradients.
    """
    if rate is None and arrivals is not None:
        raise BadParameter("expected --rate too", param_hint="--arrivals")
    if csv == "-" and json:
        raise BadParameter("expected a file if --json is given, got -", param_hint="--csv")
    due = None if rate is None else Arrivals(rate, arrivals or "constant")
    callers = concurrency or (CONCURRENCY if due is None else CONCURRENCY_AT_A_RATE)
    cases = [Case(*case) for case in product(map(_shape, shape), callers)]
    given = given_head(connection, head)
    _check_head(loss, given, cases)
    facts = _facts(loss, dtype, transport, due, grad=grad)
    with (
        _csv_stream(csv) as stream,
        connection.client(transport, retry=None) as client,
        stderr().status("measuring"),
    ):
        measure_them = partial(measure, client, cases, seconds=seconds, dtype=dtype, grad=grad)
        measurements = measure_them(loss=loss, arrivals=due, head=given)
        if stream is not None:
            write_csv(measurements, facts, stream)
    title = _title(facts, client.target)
    if json:
        facts = {"target": client.target, **facts}
        write_json({**facts, "seconds": seconds, "turns": TURNS, "cases": as_json(measurements)})
    elif csv != "-":
        stdout().print(title, table(measurements), sep="\n")
    for shortfall in shortfalls(measurements):
        stderr().print(f"losswire: {shortfall}", style="yellow", soft_wrap=True)
    if plot:
        save_picture(measurements, title, plot)


def _check_head(loss: Loss, head: GivenHead | None, cases: list[Case]) -> None:
    if (loss == "linear_cross_entropy") != (head is not None):
        problem = f"{loss} needs --head" if head is None else f"{loss} has no head: expected linear_cross_entropy"
        raise BadParameter(problem, param_hint="--loss")
    for case in cases:
        if head and case.shape.classes != head.width:
            problem = f"expected ROWSx{head.width}, of the head's width, got {case.shape}"
            raise BadParameter(problem, param_hint="--shape")


def _shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--shape") from error


def _facts(loss: str, dtype: str, transport: str, due: Arrivals | None, *, grad: bool) -> dict[str, Any]:
    """The facts that all cases share."""
    rate, arrivals = due or (None, None)
    facts = {"loss": loss, "transport": transport, "dtype": dtype, "grad": grad}
    return {**facts, "due_per_second": rate, "arrivals": arrivals}


def _title(facts: dict[str, Any], target: str) -> str:
    what = f"{facts['loss']}{' with gradient' * facts['grad']}, {facts['dtype']}, transport {facts['transport']}"
    due = f", {facts['due_per_second']:g} due a second ({facts['arrivals']})" if facts["due_per_second"] else ""
    return f"{what}{due}, at {target}"


def _csv_stream(csv: str | None) -> AbstractContextManager[IO[str] | None]:
    """The stream for CSV. It is opened before anything is measured, so that a wrong name is refused at once."""
    if csv is None or csv == "-":
        return nullcontext(None if csv is None else sys.stdout)
    return Path(csv).open("w", encoding="utf-8", newline="")
