"""Chunks of batches, each in one message. So many batches do not need a thread or a task each."""

import copy
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from losswire import v1
from losswire_client._errors import DeadlineExceededError, LosswireError
from losswire_client._many.batches import Batch, Coming, Missing, naming, taken, taken_async
from losswire_client._many.map import evaluate_in_tasks, evaluate_in_threads
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.options import Common, Options
from losswire_client._result import Result
from losswire_client._surface import Losses
from losswire_client._transports.packs import MAX_IN_FLIGHT, MAX_REQUEST_BYTES, Outcome, is_small
from losswire_client._transports.unary import read_whole, whole_request

S = TypeVar("S")
T = TypeVar("T")

Settled: TypeAlias = list[Result | Exception]  # of a chunk: exceptions are raised in their turn


@dataclass(frozen=True)
class Prepared:
    """An evaluation that is put together but not sent.

    Attributes:
        evaluation: The evaluation.
        timeout: Seconds that it may take; None for the client's timeout.
    """

    evaluation: Evaluation
    timeout: float | None


class Preparation(Losses[Prepared]):
    """The losses of a client, put together but not sent. Errors name the client's class."""

    def __init__(self, client: Losses[Any]) -> None:
        self._client = client

    @property
    def _public_name(self) -> str:
        return self._client._public_name  # noqa: SLF001 - errors name the client's class

    def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Prepared:
        timeout = common.pop("timeout", None)
        options: Options = common
        return Prepared(put_together(**options), timeout)


class Chunk:
    """Batches that go in one message.

    Args:
        prepare: Puts a batch together.
        batches: The batches.
        timeout: Timeout of the message, as in `Prepared`. A batch with another timeout goes alone.

    Attributes:
        requests: The requests that go in the message.
    """

    def __init__(self, prepare: Callable[[Batch], Prepared], batches: Sequence[Batch], timeout: float | None) -> None:
        self._results: list[Prepared | Result | Exception] = [attempted(prepare, batch) for batch in batches]
        small = {number: _small_request(prepared, timeout) for number, prepared in enumerate(self._results)}
        self._numbers = [number for number, data in small.items() if data]
        self.requests = [data for data in small.values() if data]

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Takes the outcomes of the requests."""
        for number, outcome in zip(self._numbers, outcomes, strict=True):
            prepared = self._results[number]
            if isinstance(outcome, v1.EvaluateResponse) and isinstance(prepared, Prepared):
                self._results[number] = read_whole(outcome, prepared.evaluation)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Surrounds the sending of the message. If that fails, its batches are left, unless their time has run out."""
        try:
            yield
        except DeadlineExceededError as error:
            for number in self._numbers:
                self._results[number] = copy.copy(error)
        except LosswireError:
            pass

    def left(self) -> list[Prepared]:
        """Batches that cannot go with others, or failed with them. Each is then sent alone, and gets its own error."""
        return [result for result in self._results if isinstance(result, Prepared)]

    def settled(self, alone: Iterable[Result | Exception]) -> Settled:
        """The outcome of each batch, given the outcomes of the batches that were left."""
        others = iter(alone)
        return [next(others) if isinstance(result, Prepared) else result for result in self._results]


def chunk_size(window: int, max_requests: int) -> int:
    """The size with which half of a window is computed while the other half is put together."""
    return min(max(1, window // MAX_IN_FLIGHT), max_requests)


def evaluate_in_chunks(
    evaluate: Callable[[Sequence[Batch]], Settled], batches: Iterable[Batch], window: int, size: int
) -> Iterator[Result]:
    """Results in order. As many chunks of this size are in flight as fit the window."""
    number = 0
    for results in evaluate_in_threads(evaluate, _chunks(batches, size), window // size, size):
        for result in results:
            with naming(number):
                yield _raised(result)
            number += 1


async def evaluate_in_awaited_chunks(
    evaluate: Callable[[Sequence[Batch]], Coroutine[Any, Any, Settled]], batches: Coming[Batch], window: int, size: int
) -> AsyncGenerator[Result, None]:
    """Like `evaluate_in_chunks`, in the running event loop."""
    number = 0
    async with aclosing(evaluate_in_tasks(evaluate, _awaited_chunks(batches, size), window // size, size)) as chunks:
        async for results in chunks:
            for result in results:
                with naming(number):
                    yield _raised(result)
                number += 1


def attempted(function: Callable[[S], T], argument: S) -> T | Exception:
    """What a function returns or raises. An error is raised again when its result would come."""
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001 - it is raised again
        return error


async def attempted_async(function: Callable[[S], Awaitable[T]], argument: S) -> T | Exception:
    """Like `attempted`, for a function that is awaited."""
    try:
        return await function(argument)
    except Exception as error:  # noqa: BLE001 - it is raised again
        return error


def _small_request(prepared: Prepared | Result | Exception, timeout: float | None) -> bytes | None:
    if not isinstance(prepared, Prepared) or prepared.timeout is not timeout:
        return None
    if prepared.evaluation.nbytes > MAX_REQUEST_BYTES:
        return None
    request = whole_request(prepared.evaluation)
    data = request.SerializeToString()
    return data if is_small(request, data) else None


def _chunks(batches: Iterable[Batch], size: int) -> Iterator[Sequence[Batch | Missing]]:
    iterator = taken(batches)
    while chunk := tuple(islice(iterator, size)):
        yield chunk


async def _awaited_chunks(batches: Coming[Batch], size: int) -> AsyncIterator[Sequence[Batch | Missing]]:
    chunk: list[Batch | Missing] = []
    async for batch in taken_async(batches):
        chunk.append(batch)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _raised(result: Result | Exception) -> Result:
    if isinstance(result, Exception):
        raise result
    return result
