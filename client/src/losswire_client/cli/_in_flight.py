"""Several evaluations at a time, so that reading, sending and computing overlap."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy.typing as npt

from losswire_client import Client, Result


def evaluate_in_order(
    client: Client, batches: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]], *, loss: str, window: int, **options: Any
) -> Iterator[Result]:
    """The results of the batches in their order, of which up to `window` are evaluated at a time."""
    evaluate = partial(getattr(client, loss), **options)
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(window)
    try:
        for batch in batches:
            if len(pending) == window:
                yield pending.popleft().result()
            pending.append(executor.submit(evaluate, *batch))
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # closing the client ends the others
