"""Times candidates in turns, so that a machine that slows down slows all of them, and takes medians."""

import statistics
import time
from collections.abc import Callable, Mapping

WARM_UP_RUNS = 3


def medians(candidates: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median seconds of each candidate over so many runs, A B C A B C ..., after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run in range(WARM_UP_RUNS + runs):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if run >= WARM_UP_RUNS:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
