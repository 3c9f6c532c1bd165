"""``losswire bench``: what a server does under load, seen from here."""

from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from typer import BadParameter, Option

from losswire_client.cli import _figure
from losswire_client.cli._connection import Connection
from losswire_client.cli._output import stderr, stdout, write_json
from losswire_client.cli.load import TURNS, Case, Shape, as_json, measure, save_picture, table

SHAPES = ["32x10", "256x32000"]
CONCURRENCY = [1, 32]
Transport = Literal["auto", "unary", "stream", "shared_memory"]
Dtype = Literal["float64", "float32", "float16", "bfloat16"]


def bench(
    connection: Connection,
    shape: Annotated[
        list[str], Option(metavar="ROWSxCLASSES", help="Of a batch; may be given several times.")
    ] = SHAPES,
    concurrency: Annotated[
        list[int], Option(min=1, help="Callers at a time; may be given several times.")
    ] = CONCURRENCY,
    seconds: Annotated[float, Option(min=0.01, help="How long each case is measured.")] = 3.0,
    grad: Annotated[bool, Option("--grad", help="Ask for gradients too.")] = False,
    dtype: Annotated[Dtype, Option(help="Of the logits.")] = "float32",
    transport: Annotated[Transport, Option(help="How batches travel.")] = "auto",
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
    plot: Annotated[
        Path | None,
        Option(callback=_figure.picture_path, help="Draw latencies and throughput: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Measure the latency and throughput of cross_entropy on a server, from here.

    Each case is a batch shape and a number of callers, which are threads of this process that send random logits, each
    the next batch when the last one is answered. The cases are warmed up, then measured in turns, a third of the time
    each; evaluations per second are the median of the turns, and percentiles are of all evaluations.

    With many callers and small batches, this process is what limits: run it several times at once to load a server.
    MB/s are those of logits, targets and gradients.
    """
    cases = [Case(*case) for case in product(map(_shape, shape), concurrency)]
    with connection.client(transport, retry=None) as client, stderr().status("measuring"):
        measurements = measure(client, cases, seconds=seconds, dtype=dtype, grad=grad)
    title = f"cross_entropy{' with gradient' * grad}, {dtype}, transport {transport}, at {client.target}"
    if json:
        facts = {"target": client.target, "transport": transport, "dtype": dtype, "grad": grad}
        write_json({**facts, "seconds": seconds, "turns": TURNS, "cases": as_json(measurements)})
    else:
        stdout().print(title, table(measurements), sep="\n")
    if plot:
        save_picture(measurements, title, plot)


def _shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--shape") from error
