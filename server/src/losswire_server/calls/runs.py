"""Runs: created, read, watched, finished and deleted. Evaluations are added to them at the desk."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.runs import check_key, check_name, check_new_run, spec_difference
from losswire_server.calls.evaluation import Caller
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.requests.heads.named import name_by_digests
from losswire_server.requests.heads.permitted import permitted
from losswire_server.requests.runs.messages import key_messages, new_run, run_message
from losswire_server.runs.absent import not_served
from losswire_server.runs.errors import RunExistsError, RunNotFoundError
from losswire_server.runs.records import RunRecord

if TYPE_CHECKING:
    from losswire_server.runs.runs import Runs

MOST_RUNS, SOME_RUNS = 1000, 100  # of a page
MOST_KEYS, SOME_KEYS = 10_000, 1000
LEAST_SECONDS, MOST_SECONDS, SOME_SECONDS = 0.1, 3600.0, 1.0  # between two looks at a run
MOST_REQUEST_KEYS = 1000


class RunCalls:
    """Answers the calls of RunService.

    Args:
        store: Where runs are kept; None if they are not.
        heads: Those of the server, which runs name by digest.
    """

    def __init__(self, store: "Runs | None", heads: UsesHeads = NO_HEADS) -> None:
        self._kept = store
        self._heads = heads
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ends the calls that watch runs, since no run may ever be finished."""
        self._ending.set()

    @property
    def _store(self) -> "Runs":
        if self._kept is None:
            raise not_served("RunService")
        return self._kept

    async def create(self, request: v1.CreateRunRequest, caller: Caller) -> v1.CreateRunResponse:
        """Creates a run, or finds the same one.

        Raises:
            FieldError: See `check_new_run`.
            RunExistsError: The run of this name is another.
            RunQuotaError: There are too many.
            HeadNotFoundError: No head has an alias. A head that is named by its digest need not be held here.
            Exception: Of every call here: `NotPermittedError`, and those of the store.
        """
        check_new_run(request)
        caller.permission.check_run(request.name)
        name_by_digests(request.spec, permitted(self._heads, caller.permission))
        record, created = await self._create(request)
        return v1.CreateRunResponse(run=await _message(record), created=created)

    async def get(self, request: v1.GetRunRequest, caller: Caller) -> v1.GetRunResponse:
        name = _permitted(request.name, caller)
        read = self._store.progress if request.totals_only else self._store.get
        return v1.GetRunResponse(run=await _message(await read(name)))

    async def list_runs(self, request: v1.ListRunsRequest, caller: Caller) -> v1.ListRunsResponse:
        """The caller's own runs. A page may have fewer than were asked for, since it leaves out those of others."""
        size = _page_size(request.page_size, MOST_RUNS, SOME_RUNS)
        records, token = await self._store.list(size, request.page_token, request.name_prefix)
        permitted = [record for record in records if caller.permission.permits_run(record.name)]
        runs = await asyncio.to_thread(lambda: [run_message(record, with_spec=False) for record in permitted])
        return v1.ListRunsResponse(runs=runs, next_page_token=token)

    async def list_keys(self, request: v1.ListRunKeysRequest, caller: Caller) -> v1.ListRunKeysResponse:
        name, size = _permitted(request.name, caller), _page_size(request.page_size, MOST_KEYS, SOME_KEYS)
        only = request.slice if request.HasField("slice") else None
        records, token = await self._store.keys(name, size, request.page_token, only)
        return v1.ListRunKeysResponse(keys=await asyncio.to_thread(key_messages, records), next_page_token=token)

    async def find_missing(self, request: v1.FindMissingKeysRequest, caller: Caller) -> v1.FindMissingKeysResponse:
        name, keys = _permitted(request.name, caller), _keys(request.keys, "keys")
        return v1.FindMissingKeysResponse(missing=await self._store.missing(name, keys))

    async def watch(self, request: v1.WatchRunRequest, caller: Caller) -> AsyncIterator[v1.WatchRunResponse]:
        """The run now, and whenever it has changed, until it is finished.

        Raises:
            EngineClosedError: The server stops.
        """
        name, seconds = _permitted(request.name, caller), request.interval_seconds or SOME_SECONDS
        if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            expected = f"expected a number from {LEAST_SECONDS} to {MOST_SECONDS}, or 0"
            raise FieldError("interval_seconds", f"{expected}, got {seconds}")
        last = None
        while True:
            record = await self._store.progress(name)
            if record != last:
                yield v1.WatchRunResponse(run=run_message(record))
            if record.finished_at is not None:
                return
            last = record
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
                raise ce_engine.EngineClosedError("the server stops")

    async def finish(self, request: v1.FinishRunRequest, caller: Caller) -> v1.FinishRunResponse:
        """Finishes a run.

        Raises:
            RunIncompleteError: It lacks keys, or has others than expected.
        """
        name, expected = _permitted(request.name, caller), request.WhichOneof("expected")
        keys = _keys(request.keys.keys, "keys.keys") if expected == "keys" else None
        count = request.key_count if expected == "key_count" else None
        if count is not None and count < 0:
            raise FieldError("key_count", f"expected at least 0, got {count}")
        return v1.FinishRunResponse(run=await _message(await self._store.finish(name, keys, count)))

    async def delete(self, request: v1.DeleteRunRequest, caller: Caller) -> v1.DeleteRunResponse:
        await self._store.delete(_permitted(request.name, caller))
        return v1.DeleteRunResponse()

    async def _create(self, request: v1.CreateRunRequest) -> tuple[RunRecord, bool]:
        """Creates a run in the store, which knows only that specs differ, and not in what."""
        try:
            return await self._store.create(new_run(request))
        except RunExistsError as error:
            with suppress(RunNotFoundError):  # deleted since
                kept = v1.LossSpec.FromString((await self._store.progress(request.name)).spec)
                if difference := spec_difference(kept, request.spec):
                    field, problem = difference
                    raise RunExistsError(field, f"run {request.name!r} {problem}") from error
            raise


async def _message(record: RunRecord) -> v1.Run:
    """A run as a message, written in another thread: it may have thousands of slices and classes."""
    return await asyncio.to_thread(run_message, record)


def _permitted(name: str, caller: Caller) -> str:
    check_name(name)
    caller.permission.check_run(name)
    return name


def _page_size(size: int, most: int, some: int) -> int:
    if not 0 <= size <= most:
        raise FieldError("page_size", f"expected a number from 0 to {most}, got {size}")
    return size or some


def _keys(keys: Iterable[str], field: str) -> list[str]:
    found = list(keys)
    if len(found) > MOST_REQUEST_KEYS:
        raise FieldError(field, f"expected at most {MOST_REQUEST_KEYS}, got {len(found)}")
    for key in found:
        if not key:
            raise FieldError(field, "expected keys, got an empty text")
        check_key(key, field)
    return found
