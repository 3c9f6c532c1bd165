"""The batches of a `map`: how they are taken and evaluated, and how errors name their batch."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from losswire.losses import LOSSES
from losswire_client._calls import check_keywords, keywords_of
from losswire_client._errors import LosswireError, invalid_argument, shown
from losswire_client._request.fields import check_choice
from losswire_client._surface import Losses

S = TypeVar("S")
T = TypeVar("T")

Batch: TypeAlias = Sequence[Any] | Mapping[str, Any]  # the first arguments of a loss, or any arguments by their names
Coming: TypeAlias = Iterable[T] | AsyncIterable[T]

ITERABLE = ("__iter__", "__getitem__")
ASYNC_ITERABLE = ("__aiter__", *ITERABLE)


@dataclass(frozen=True)
class Missing:
    """Stands for a batch that the iterable failed to give, so that the error is raised where its result would be."""

    error: Exception


def check_map(losses: Losses[Any], loss: str, options: Iterable[str], batches: object, ways: Sequence[str]) -> None:
    """Checks the arguments of a `map` that are the same for all batches, before any batch is taken."""
    check_choice("loss", loss, LOSSES)
    map_of = getattr(type(losses), "map")  # noqa: B009 - not all classes with losses have a `map`
    known = keywords_of(getattr(losses, loss))
    check_keywords(losses, map_of, options, known and {*known, "window", "progress"})
    if not any(hasattr(type(batches), way) for way in ways):
        problem = f"expected an iterable of batches, such as a list or a generator, got {shown(batches)}"
        raise invalid_argument("batches", problem)


def evaluator(losses: Losses[T], loss: str, options: Mapping[str, Any]) -> Callable[[Batch | Missing], T]:
    """A loss as a function of a batch, with options that all batches have."""
    function = partial(getattr(losses, loss), **options)

    def evaluate(batch: Batch | Missing) -> T:
        if isinstance(batch, Missing):
            raise batch.error
        if isinstance(batch, Mapping):
            return cast(T, function(**{str(name): argument for name, argument in batch.items()}))
        if isinstance(batch, str | bytes) or not isinstance(batch, Iterable):
            expected = "the loss's first arguments, as in (input, target), or a mapping of them"
            raise invalid_argument("batches", f"expected {expected}, got {shown(batch)}")
        return cast(T, function(*batch))

    return evaluate


def taken(batches: Iterable[S]) -> Iterator[S | Missing]:
    """Batches as they come. If the iterable raises an error, a `Missing` with the error comes last."""
    try:
        for batch in batches:  # noqa: UP028 - `yield from` would close a generator that the caller may still use
            yield batch
    except Exception as error:  # noqa: BLE001 - it is raised again
        yield Missing(error)


async def taken_async(batches: Coming[S]) -> AsyncIterator[S | Missing]:
    """Like `taken`, for an iterable or an asynchronous iterable."""
    if not isinstance(batches, AsyncIterable):
        for each in taken(batches):
            yield each
        return
    try:
        async for batch in batches:
            yield batch
    except Exception as error:  # noqa: BLE001 - it is raised again
        yield Missing(error)


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Names the batch in errors, counted from 0: in the message of our own errors, in a note of all other errors."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, LosswireError):
            error.add_note(f"in batch {number}")
        with suppress(AttributeError):  # some errors take no attributes
            setattr(error, "batch", number)  # noqa: B010 - not every error declares it
        raise
