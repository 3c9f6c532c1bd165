"""Measures contestants in turns, A B C A B C, so that a machine that slows down slows all of them."""

import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.batch import Batch
from benchmarks.contestants import Contestant, Way
from benchmarks.timing import WARM_UP_RUNS

SMALL_BATCH = Batch(32, 10, "float32", grad=False)
CALLERS = 32

Contestants = Mapping[str, Contestant]


@dataclass(frozen=True)
class Small:
    """The results of small batches: medians over the turns.

    Attributes:
        p50: Median seconds of one caller's evaluations.
        p99: 99th percentile of the same.
        rate: Evaluations per second with `CALLERS` in flight.
    """

    p50: float
    p99: float
    rate: float


@contextmanager
def running(ways: Mapping[str, Way]) -> Iterator[Contestants]:
    """Runs the contestants whose environment is installed."""
    contestants = {name: Contestant(way) for name, way in ways.items() if way.installed}
    try:
        yield contestants
    finally:
        for contestant in contestants.values():  # all at once: Triton takes seconds to stop
            contestant.dismiss()
        for contestant in contestants.values():
            contestant.stop()


def large(ways: Mapping[str, Way], batches: list[Batch], runs: int) -> dict[Batch, dict[str, float]]:
    """Median seconds, for each batch, of each contestant that could be measured."""
    with running(ways) as contestants:
        return {batch: _medians(prepared(ways, contestants, batch), runs) for batch in batches}


def small(ways: Mapping[str, Way], turns: int, runs: int, seconds: float) -> dict[str, Small]:
    """Each turn measures so many runs of one caller, and then for so many seconds `CALLERS` of them."""
    with running(ways) as contestants:
        able = prepared(ways, contestants, SMALL_BATCH)
        measured = [{name: _small(each, runs, seconds) for name, each in able.items()} for _ in range(turns)]
        return {name: _median_of([turn[name] for turn in measured]) for name in able}


def prepared(ways: Mapping[str, Way], contestants: Contestants, batch: Batch) -> Contestants:
    """The contestants that are ready for a batch. Only a peer may fail, on a machine that it was not built for."""
    able = {}
    for name, contestant in contestants.items():
        try:
            contestant.prepare(batch)
            able[name] = contestant
        except RuntimeError as error:
            if not ways[name].peer:
                raise
            print(f"{name}, {batch}: not measured: {error}", file=sys.stderr)
    return able


def _medians(contestants: Contestants, runs: int) -> dict[str, float]:
    turns = [{name: each.seconds() for name, each in contestants.items()} for _ in range(WARM_UP_RUNS + runs)]
    return {name: statistics.median(turn[name] for turn in turns[WARM_UP_RUNS:]) for name in contestants}


def _small(contestant: Contestant, runs: int, seconds: float) -> Small:
    percentiles = statistics.quantiles(contestant.latencies(runs), n=100)
    return Small(percentiles[49], percentiles[98], contestant.rate(CALLERS, seconds))


def _median_of(turns: list[Small]) -> Small:
    return Small(
        statistics.median(turn.p50 for turn in turns),
        statistics.median(turn.p99 for turn in turns),
        statistics.median(turn.rate for turn in turns),
    )
