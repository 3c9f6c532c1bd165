"""One interval after the other."""

import time
from collections.abc import Callable, Iterator

from losswire_client.cli.monitor._interval import Interval
from losswire_client.cli.monitor._scrape import MetricsError, Scrape


def watch(
    fetch: Callable[[], Scrape], seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Interval | MetricsError]:
    """The intervals of about so many seconds, and in their place why there is none."""
    before: Scrape | None = None
    while True:
        try:
            after = fetch()
        except MetricsError as error:
            before = None  # what comes after a gap is no rate of the last seconds
            yield error
        else:
            if before is not None:
                yield Interval(before, after)
            before = after
        sleep(seconds)
