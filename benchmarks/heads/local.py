"""The engine's losses of hidden states beside PyTorch's, in process."""

import statistics
import sys

from rich.table import Table

from benchmarks.contestants import MALLOC_KEEPS, Contestant, Way
from benchmarks.heads.case import Case
from benchmarks.timing import WARM_UP_RUNS

SHAPES = (
    (1024, 1024, 32000),
    (256, 1024, 32000),
    (64, 4096, 8192),
    (16, 1024, 32000),
    (1, 1024, 32000),
    (1024, 1024, 128),
)
SMOKE_SHAPES = ((20, 30, 40),)
DTYPES = ("float32", "bfloat16")
OURS = "ce_engine"
WAYS = {
    "no options": Way("benchmarks.heads.ways:reference"),
    "no options, malloc tuned": Way("benchmarks.heads.ways:reference", environment=MALLOC_KEEPS),
    "options": Way("benchmarks.heads.ways:chunked"),
    "torch.compile": Way("benchmarks.heads.ways:compiled"),
    OURS: Way("benchmarks.heads.ways:engine"),
}


def cases(shapes: tuple[tuple[int, int, int], ...], dtypes: tuple[str, ...] = DTYPES) -> list[Case]:
    flags = [(dtype, norm, grad) for dtype in dtypes for norm in (False, True) for grad in (False, True)]
    return [Case(*shape, dtype, grad, norm) for dtype, norm, grad in flags for shape in shapes]


def local_table(cases: list[Case], runs: int) -> Table:
    title = f"F.linear_cross_entropy and ours, milliseconds, medians of {runs} runs in turns"
    headings = ("N, H, V", "dtype", "norm", "gradient", *WAYS, "best of PyTorch's / ours")
    table = Table(*headings, title=title, title_justify="left")
    contestants = {name: Contestant(way) for name, way in WAYS.items()}
    try:
        for case in cases:
            seconds = _medians(contestants, case, runs)
            best = min(value for name, value in seconds.items() if name != OURS)
            times = [f"{seconds[name] * 1e3:.2f}" if name in seconds else "not measured" for name in WAYS]
            flags = ["yes" if flag else "no" for flag in (case.norm, case.grad)]
            shape = f"{case.rows}, {case.width}, {case.classes}"
            table.add_row(shape, case.dtype, *flags, *times, f"{best / seconds[OURS]:.2f}")
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return table


def _medians(contestants: dict[str, Contestant], case: Case, runs: int) -> dict[str, float]:
    able = {name: contestant for name, contestant in contestants.items() if _prepare(name, contestant, case)}
    turns = [{name: each.seconds() for name, each in able.items()} for _ in range(WARM_UP_RUNS + runs)]
    return {name: statistics.median(turn[name] for turn in turns[WARM_UP_RUNS:]) for name in able}


def _prepare(name: str, contestant: Contestant, case: Case) -> bool:
    """Whether it can compute this case; says so if not: torch.compile needs a C++ compiler."""
    try:
        contestant.prepare(case)
    except RuntimeError as error:
        if name == OURS:
            raise
        print(f"{name}, {case}: not measured: {error}", file=sys.stderr)
        return False
    return True
