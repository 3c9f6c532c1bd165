"""Callers in threads, each of which sends its next batch when the last one is answered."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from losswire.dtypes import BY_NAME
from losswire_client import Client, OverloadedError
from losswire_client.cli.load._measurement import Case, Measurement, Shape, Turn
from losswire_client.cli.readers import Batch

TURNS = 3  # A B C A B C A B C, so that a machine that slows down slows all cases
WARM_UP_SECONDS = 0.3
MIN_RETRY_SECONDS = 0.005

Evaluate = Callable[[], object]


def measure(client: Client, cases: Sequence[Case], *, seconds: float, dtype: str, grad: bool) -> list[Measurement]:
    """Measures each case for so many seconds in all, after a warm-up."""
    batches = {case.shape: random_batch(case.shape, dtype) for case in cases}
    evaluates = [partial(client.cross_entropy, *batches[case.shape], grad=grad) for case in cases]
    measurements = [Measurement(case, _nbytes(batches[case.shape], grad)) for case in cases]
    for evaluate, case in zip(evaluates, cases, strict=True):
        run_turn(evaluate, case.concurrency, WARM_UP_SECONDS)
    for _ in range(TURNS):
        for evaluate, measurement in zip(evaluates, measurements, strict=True):
            measurement.turns.append(run_turn(evaluate, measurement.case.concurrency, seconds / TURNS))
    return measurements


def random_batch(shape: Shape, dtype: str) -> Batch:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(shape, np.float32).astype(BY_NAME[dtype].numpy)
    return Batch(logits, rng.integers(shape.classes, size=shape.rows))


def run_turn(evaluate: Evaluate, concurrency: int, seconds: float) -> Turn:
    """So many callers for so many seconds: each of them ends what it has begun."""
    start = time.perf_counter()
    executor = ThreadPoolExecutor(concurrency)
    try:
        calls = [executor.submit(_call_until, start + seconds, evaluate) for _ in range(concurrency)]
        turns = [call.result() for call in calls]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # one that fails, or is interrupted, does not wait for all
    latencies = [latency for turn in turns for latency in turn.latencies]
    return Turn(latencies, sum(turn.refused_count for turn in turns), time.perf_counter() - start)


def _call_until(end: float, evaluate: Evaluate) -> Turn:
    latencies: list[float] = []
    refused_count, start = 0, time.perf_counter()
    while not (latencies or refused_count) or start < end:
        try:
            evaluate()
            latencies.append(time.perf_counter() - start)
        except OverloadedError as error:
            refused_count += 1
            time.sleep(max(error.retry_seconds, MIN_RETRY_SECONDS))
        start = time.perf_counter()
    return Turn(latencies, refused_count, 0.0)


def _nbytes(batch: Batch, grad: bool) -> int:
    return batch.input.nbytes * (2 if grad else 1) + batch.target.nbytes
