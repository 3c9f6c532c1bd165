"""Callers in threads. Each sends its next batch when the last one is answered."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from losswire_client import OverloadedError
from losswire_client.cli.load._measurement import Turn

MIN_RETRY_SECONDS = 0.005

Evaluate = Callable[[], object]
T = TypeVar("T")


def run_turn(evaluate: Evaluate, concurrency: int, seconds: float) -> Turn:
    """Runs so many callers for so many seconds. Each of them ends the evaluation that it has begun."""
    start, cpu_start = time.perf_counter(), time.process_time()
    turns = in_threads(concurrency, lambda: _call_until(start + seconds, evaluate))
    return Turn(
        latencies=[latency for turn in turns for latency in turn.latencies],
        refused_count=sum(turn.refused_count for turn in turns),
        seconds=time.perf_counter() - start,
        cpu_seconds=time.process_time() - cpu_start,
    )


def in_threads(count: int, work: Callable[[], T]) -> list[T]:
    """Does the same work in so many threads. Returns their results."""
    executor = ThreadPoolExecutor(count)
    try:
        calls = [executor.submit(work) for _ in range(count)]
        return [call.result() for call in calls]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # a failure or interrupt need not wait


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
