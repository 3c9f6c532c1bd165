"""The run whose calls return."""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

import numpy.typing as npt

from losswire_client._calls import checks_call
from losswire_client._flow import each, run
from losswire_client._result import Result
from losswire_client._runs.base_run import BaseRun
from losswire_client._runs.results import RunKey, RunProgress, RunResult, to_progress, to_result
from losswire_client._runs.surface import BatchOptions


class Run(BaseRun[Result]):
    """An evaluation that many workers add to, each part under a key: `Client.run` makes one.

    A key counts once, whatever is sent again, and the totals have the same bits for every sharding and order. Any
    number of threads, processes and machines may add to a run. A pickled run keeps the arguments of its client, and
    connects anew where it is loaded.

    It is a context manager, so that a block shows which code adds to it. The end of the block ends nothing: the run is
    on the server, where others may still add to it, and it is `finish` that says that nothing is missing.
    """

    @checks_call
    def missing(self, keys: Iterable[str], *, timeout: float | None = None) -> list[str]:
        """Those of any number of keys that the run lacks, in their order, so that a worker goes on where one stopped.

        Args:
            keys: The keys.
            timeout: Seconds that each call may take; the client's if None. So for all methods.

        Raises:
            NotFoundError: There is no such run.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree. So for all methods.
        """
        return run(self._calls.missing(self.name, keys, timeout))

    @checks_call
    def keys(self, slice: str | None = None, *, timeout: float | None = None) -> Iterator[RunKey]:
        """The keys that count, in the order of their bytes, with the sums of each. They come page by page.

        Args:
            slice: Only keys of this slice; the empty one is that of keys that named none.
            timeout: As for `missing`.
        """
        return each(self._calls.list_keys(self.name, slice, timeout))

    @checks_call
    def progress(self, *, timeout: float | None = None) -> RunProgress:
        """How far it is."""
        return to_progress(run(self._calls.get(self.name, timeout, totals_only=True)))

    @checks_call
    def watch(self, interval: float = 1.0, *, timeout: float | None = None) -> Iterator[RunProgress]:
        """How far it is, at once and then whenever that has changed, until it is finished.

        Args:
            interval: Seconds between two states at least, from 0.1 to 3600.
            timeout: Seconds in which the first state must come, also after the server was away; the client's if None.
        """
        return each(self._calls.watch(self.name, interval, timeout))

    @checks_call
    def result(self, *, timeout: float | None = None) -> RunResult:
        """What it has come to so far, by slice and class too; for good once it is finished."""
        return to_result(run(self._calls.get(self.name, timeout)))

    @checks_call
    def finish(
        self, keys: Iterable[str] | None = None, count: int | None = None, *, timeout: float | None = None
    ) -> RunResult:
        """Has it take no more keys, if it has exactly those expected. From then on its totals never change.

        Args:
            keys: All keys that it must have, any number. If they are too many for one request, none may be missing, and
                the run must have as many.
            count: Their number, instead of the keys. Neither is needed if the run was created with ``expected_keys``.
            timeout: As for `missing`.

        Raises:
            PreconditionError: Keys are missing, or there are others: see `PreconditionError.missing`.
        """
        return to_result(run(self._calls.finish(self.name, keys, count, timeout)))

    @checks_call
    def delete(self, *, timeout: float | None = None) -> None:
        """Deletes it with its keys, finished or not."""
        run(self._calls.delete(self.name, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends nothing: see the class."""

    def _add(
        self,
        loss: str | None,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        key: str,
        classes: Mapping[str, npt.ArrayLike | None],
        batch: BatchOptions,
    ) -> Result:
        return run(self._evaluate_keyed(loss, input, target, key, classes, batch))
