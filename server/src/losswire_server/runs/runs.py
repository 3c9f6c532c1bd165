"""The store of runs."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

from sqlalchemy import Connection

from losswire.errors import FieldError
from losswire_server.runs import creating, finishing, reads
from losswire_server.runs.checks import check_entry, check_text
from losswire_server.runs.database.address import address_of, shown
from losswire_server.runs.database.opening import open_database
from losswire_server.runs.ending import end
from losswire_server.runs.errors import RunFinishedError, RunQuotaError, StoreUnavailableError
from losswire_server.runs.observer import NoObserver, Observer
from losswire_server.runs.quotas import Quotas
from losswire_server.runs.readers import Readers
from losswire_server.runs.recent import Recent
from losswire_server.runs.records import Entry, KeyRecord, NewRun, RunRecord
from losswire_server.runs.writing.commits import Commits
from losswire_server.runs.writing.tally import Outcome, check_match
from losswire_server.runs.writing.upkeep import Upkeep
from losswire_server.runs.writing.writer import Writer

READERS = 4
COMMIT_SECONDS = 20.0  # that an evaluation waits for the database; longer than a lock, so that a lock is told of

T = TypeVar("T")
RunsPage = tuple[list[RunRecord], str]  # and the token of the next page, or ""
KeysPage = tuple[list[KeyRecord], str]
Names = list[str]
Outcomes = list[Outcome]


class Runs:
    """Runs, in SQLite or PostgreSQL. May be used from several threads and event loops.

    Coroutines never hold up their event loop: one thread writes, and a few read.

    Args:
        place: A file, or a URL, as in ``postgresql://USER@HOST/DATABASE``.
        quotas: How much is kept.
        observer: Is told of what is written.
        clock: Gives seconds since the epoch.

    Raises:
        UnusableStoreError: The place is neither.
    """

    def __init__(
        self,
        place: str,
        quotas: Quotas = Quotas(),  # noqa: B008 - it never changes
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._address = address_of(place)
        self._quotas = quotas
        self._observer = observer or NoObserver()
        self._clock = clock
        self._opened = ExitStack()
        self._given_up = threading.Event()

    @property
    def told(self) -> str:
        """Where they are, without what is secret."""
        return shown(self._address)

    def open(self) -> None:
        """Connects, makes the tables or brings them up to date, and starts to write. Blocks.

        Raises:
            UnusableStoreError: The store cannot be used; the message says why, to people.
        """
        self._database = open_database(self._address, given_up=self._given_up)
        self._opened.callback(self._database.close)
        self._recent = Recent(lambda name: self._database.read(lambda connection: reads.find(connection, name)))
        commits = Commits(self._database, self._quotas, self._observer, self._clock)
        self._writer = Writer(commits, Upkeep(self._database, self._quotas.run_idle_seconds, self._clock))
        self._writer.start()
        self._readers = Readers(READERS)
        self._opened.callback(end, (self._readers, self._writer), self._given_up)

    def close(self) -> None:
        """Does what is asked for already, and disconnects, if it is open. Further calls are refused.

        Blocks, for a few seconds at most: whoever waits for a database that hangs gets a StoreUnavailableError then.
        """
        self._opened.close()
        self._given_up.set()  # also for `open`, if it still waits

    async def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Adds entries to their runs, each for itself, and returns once those that count are on disk.

        Returns:
            In their order: False if the key counts now, True if it did before with the same sums, or the error of this
            entry alone. StoreUnavailableError for all of them if the database is lost.
        """
        problems = [self._problem_of(entry) for entry in entries]
        good = [entry for entry, problem in zip(entries, problems, strict=True) if problem is None]
        try:
            outcomes = iter(await self._written(good) if good else ())
        except StoreUnavailableError as error:
            return [error for _ in entries]
        return [next(outcomes) if problem is None else problem for problem in problems]

    async def check(self, run: str, digest: str, *, by_class: bool, key: str, slice: str) -> None:
        """Refuses an evaluation early that would not be counted; what it lets pass may still be refused.

        Raises:
            RunNotFoundError, RunMismatchError, RunFinishedError, RunQuotaError, FieldError, StoreUnavailableError
        """
        check_entry(key, slice, self._quotas.max_key_bytes)
        await self._in_reader(lambda: self._check(run, digest, by_class, key))

    async def create(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Creates a run, unless there is the same one. Returns it, and whether this call created it.

        Raises:
            RunExistsError, RunQuotaError, StoreUnavailableError
        """
        check_text("name", new.name)
        is_new = await self._write(
            lambda connection: creating.create(connection, new, self._quotas.max_runs, self._clock())
        )
        self._recent.forget(new.name)
        return await self.progress(new.name), is_new

    async def get(self, name: str) -> RunRecord:
        """A run with its slices and classes.

        Raises:
            RunNotFoundError, StoreUnavailableError
        """
        return await self._read(lambda connection: reads.whole(connection, name))

    async def progress(self, name: str) -> RunRecord:
        """A run without its slices and classes.

        Raises:
            RunNotFoundError, StoreUnavailableError
        """
        return await self._read(lambda connection: reads.progress(connection, name))

    async def list(self, page_size: int, page_token: str = "", prefix: str = "") -> RunsPage:
        """Some runs, the newest first, without slices, classes and spec, and the token of the next page or ''.

        Raises:
            FieldError: The token is none.
            StoreUnavailableError
        """
        check_text("name_prefix", prefix)
        return await self._read(lambda connection: reads.listed(connection, page_size, page_token, prefix))

    async def keys(self, name: str, page_size: int, page_token: str = "", slice: str | None = None) -> KeysPage:
        """Some keys of a run, or of one of its slices, in the order of their bytes, and the token of the next page.

        Raises:
            RunNotFoundError, StoreUnavailableError
        """
        check_text("page_token", page_token)
        check_text("slice", slice or "")
        return await self._read(lambda connection: reads.keys_of(connection, name, page_size, page_token, slice))

    async def missing(self, name: str, keys: Sequence[str]) -> Names:
        """Those of some keys that a run lacks, each once, in their order.

        Raises:
            RunNotFoundError, StoreUnavailableError
        """
        for key in keys:
            check_text("keys", key)
        return await self._read(lambda connection: reads.missing(connection, reads.find(connection, name).id, keys))

    async def finish(self, name: str, keys: Sequence[str] | None, key_count: int | None) -> RunRecord:
        """Finishes a run that has exactly the expected keys, or as many.

        Raises:
            RunNotFoundError, RunIncompleteError, StoreUnavailableError
            FieldError: Neither is given, nor was when the run was created.
        """
        for key in keys or ():
            check_text("expected.keys", key)
        is_done = False
        while not is_done:  # it may get keys meanwhile
            checked = await self._read(lambda connection: finishing.check(connection, name, keys, key_count))
            is_done = checked.is_finished or await self._write(
                lambda connection: finishing.finish(connection, checked, self._clock())  # noqa: B023 - awaited here
            )
        self._recent.forget(name)
        return await self.get(name)

    async def delete(self, name: str) -> None:
        """Deletes a run. Its name is free at once; its keys go little by little.

        Raises:
            RunNotFoundError, StoreUnavailableError
        """
        await self._write(lambda connection: creating.mark_deleted(connection, name))
        self._recent.forget(name)
        self._writer.tend()

    def _problem_of(self, entry: Entry) -> FieldError | None:
        try:
            check_entry(entry.key, entry.slice, self._quotas.max_key_bytes)
        except FieldError as error:
            return error
        return None

    async def _written(self, entries: Sequence[Entry]) -> Outcomes:
        """Has entries written. Those of a caller who leaves, or for whom it takes too long, do not wait on."""
        future = self._writer.add(entries)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return await future
        except TimeoutError:
            problem = f"the database has not answered for {COMMIT_SECONDS:g} seconds"
            raise StoreUnavailableError(problem) from None
        finally:
            if future.cancelled():
                self._writer.leave(future)

    def _check(self, run: str, digest: str, by_class: bool, key: str) -> None:
        head = self._recent.get(run)
        if head.digest != digest or (head.by_class and not by_class) or head.finished_at is not None:
            self._recent.forget(run)  # another server may have deleted it since, and created another of this name
            head = self._recent.get(run)
        check_match(head, digest, has_classes=by_class)
        is_finished = head.finished_at is not None
        if not is_finished and head.key_count < self._quotas.max_run_keys:
            return
        if self._database.read(lambda connection: reads.missing(connection, head.id, [key])):
            raise RunFinishedError(run, key) if is_finished else RunQuotaError(f"run {run!r} has all keys that it may")

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._in_reader(lambda: self._database.read(work))

    async def _in_reader(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._readers.do(work))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.do(lambda: self._database.write(work)))
