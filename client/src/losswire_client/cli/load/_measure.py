"""Measures cases in turns."""

from collections.abc import Callable, Sequence
from functools import partial

from losswire_client import Client
from losswire_client._readers import Batch
from losswire_client.cli._heads import GivenHead
from losswire_client.cli.load._batches import random_batch
from losswire_client.cli.load._closed_loop import Evaluate, run_turn
from losswire_client.cli.load._measurement import Arrivals, Case, Measurement, Turn
from losswire_client.cli.load._open_loop import run_open_turn, schedule

TURNS = 3  # A B C A B C A B C, so that a machine that slows down slows all cases
WARM_UP_SECONDS = 0.3


def measure(
    client: Client,
    cases: Sequence[Case],
    *,
    seconds: float,
    dtype: str,
    grad: bool,
    loss: str = "cross_entropy",
    arrivals: Arrivals | None = None,
    head: GivenHead | None = None,
) -> list[Measurement]:
    """Measures each case for so many seconds in all, after a warm-up."""
    class_count, options = (head.class_count, {"head": head.argument}) if head else (None, {})
    batches = {case.shape: random_batch(case.shape, dtype, loss, class_count) for case in cases}
    function = partial(getattr(client, loss), grad=grad, **options)
    evaluates = [partial(function, **batches[case.shape]._asdict()) for case in cases]
    measurements = [Measurement(case, _nbytes(batches[case.shape], grad)) for case in cases]
    for evaluate, case in zip(evaluates, cases, strict=True):
        run_turn(evaluate, case.concurrency, WARM_UP_SECONDS)
    for turn in range(TURNS):
        run = _runner(arrivals, seconds / TURNS, turn)
        for evaluate, measurement in zip(evaluates, measurements, strict=True):
            measurement.turns.append(run(evaluate, measurement.case.concurrency))
    return measurements


def _runner(arrivals: Arrivals | None, seconds: float, turn: int) -> Callable[[Evaluate, int], Turn]:
    if arrivals is None:
        return partial(run_turn, seconds=seconds)
    return partial(run_open_turn, due=schedule(arrivals, seconds, turn), seconds=seconds)


def _nbytes(batch: Batch, grad: bool) -> int:
    return batch.input.nbytes * (2 if grad else 1) + batch.target.nbytes
