"""Keeps the metrics of runs up to date with what other servers add and finish."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from losswire_server.metrics.runs import MOST_RUNS, RunMetrics
from losswire_server.runs.errors import RunNotFoundError, StoreUnavailableError
from losswire_server.runs.records import RunRecord

if TYPE_CHECKING:
    from losswire_server.runs.runs import Runs

LOOK_SECONDS = 2.0


class LatestRuns:
    """Looks at the newest runs and at those that are shown, again and again, while anybody looks at the metrics.

    Use it in the event loop, once the store is open.
    """

    def __init__(self, store: "Runs", metrics: RunMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Looks once. What the database does not answer stays as it was."""
        with suppress(StoreUnavailableError):
            newest, _ = await self._store.list(MOST_RUNS)
            others = sorted(set(self._metrics.shown) - {run.name for run in newest})
            found = await asyncio.gather(*map(self._progress, others))
            self._learn(others, found, newest)

    async def _watch(self) -> None:
        while True:
            if self._metrics.is_watched:
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _progress(self, name: str) -> RunRecord | None:
        try:
            return await self._store.progress(name)
        except RunNotFoundError:
            return None

    def _learn(self, names: Sequence[str], found: Sequence[RunRecord | None], newest: Sequence[RunRecord]) -> None:
        gone = [name for name, run in zip(names, found, strict=True) if run is None]
        self._metrics.learn([*newest, *filter(None, found)], gone)
