"""Hidden states beside logits through the service: over loopback, and over links of 1 and 10 Gbit/s."""

import os
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from benchmarks.heads.caller import TRANSPORTS, Measured, measure
from benchmarks.heads.case import Case
from benchmarks.heads.links import link
from benchmarks.heads.server import serving

GIGABITS = (10, 1)


def service_tables(cases: list[Case], runs: int) -> Iterator[RenderableType]:
    """A table of each place that can be measured, and a line that says why another one cannot."""
    with serving() as server:
        numbers = [measure(server.target, case, runs, local=True, transports=TRANSPORTS) for case in cases]
    yield _table("loopback", cases, numbers, runs)
    for gigabits in GIGABITS:
        try:
            yield _table(f"{gigabits} Gbit/s", cases, _over_link(gigabits, cases, runs), runs)
        except PermissionError as error:
            yield f"a link of {gigabits} Gbit/s: not measured: {error}"


def _over_link(gigabits: int, cases: list[Case], runs: int) -> list[dict[str, Measured]]:
    with link(f"lw{os.getpid()}", gigabits) as (side, caller), serving(side.address, side.prefix) as server:
        return [
            measure(server.target, case, runs, prefix=caller.prefix, local=False, transports=("stream",))
            for case in cases
        ]


def _table(where: str, cases: list[Case], numbers: list[dict[str, Measured]], runs: int) -> Table:
    first = cases[0]
    title = f"{where}, {first.rows} x {first.width} to {first.classes}: ms (MB on the wire), medians of {runs} turns"
    headings = [f"{case.dtype}\n{'forward + gradient' if case.grad else 'forward'}" for case in cases]
    table = Table("", *headings, title=title, title_justify="left")
    for name in numbers[0]:
        table.add_row(name, *(_shown(measured[name], name) for measured in numbers))
    return table


def _shown(measured: Measured, name: str) -> str:
    wire = f" ({measured.wire_bytes / 1e6:.2f})" if "," in name else ""  # ways in process send nothing
    return f"{measured.seconds * 1e3:.1f}{wire}"
