"""Scrapes a server interval by interval."""

import time
from collections.abc import Callable, Iterator

from losswire_client.cli.monitor._interval import Interval
from losswire_client.cli.monitor._scrape import MetricsError, Scrape


def watch(
    fetch: Callable[[], Scrape], seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Interval | MetricsError]:
    """Intervals of about so many seconds. An error takes the place of an interval whose scrape failed."""
    before: Scrape | None = None
    while True:
        try:
            after = fetch()
        except MetricsError as error:
            before = None  # an interval with a gap would give no rate of the last seconds
            yield error
        else:
            if before is not None:
                yield Interval(before, after)
            before = after
        sleep(seconds)
