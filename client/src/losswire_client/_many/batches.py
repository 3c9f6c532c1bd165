"""The batches of a `map`: how they are taken, what makes a call of each, and how errors tell which one they are of."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from losswire.losses import LOSSES
from losswire_client._calls import check_keywords, keywords_of
from losswire_client._errors import LosswireError, invalid_argument, shown
from losswire_client._request.evaluation import check_choice
from losswire_client._surface import Losses

S = TypeVar("S")
T = TypeVar("T")

Batch: TypeAlias = Sequence[Any] | Mapping[str, Any]  # the first arguments of a loss, or any by their names
Coming: TypeAlias = Iterable[T] | AsyncIterable[T]

ITERABLE = ("__iter__", "__getitem__")
ASYNC_ITERABLE = ("__aiter__", *ITERABLE)


@dataclass(frozen=True)
class Missing:
    """Stands for a batch that did not come, so that its error is raised where its result would be."""

    error: Exception


def check_map(losses: Losses[Any], loss: str, options: Iterable[str], batches: object, ways: Sequence[str]) -> None:
    """Checks the arguments of a `map` that are the same for all batches, before any is taken."""
    check_choice("loss", loss, LOSSES)
    map_of = getattr(type(losses), "map")  # noqa: B009 - which not all that have losses have
    known = keywords_of(getattr(losses, loss))
    check_keywords(losses, map_of, options, known and {*known, "window", "progress"})
    if not any(hasattr(type(batches), way) for way in ways):
        problem = f"expected what gives batches, as a list or a generator, got {shown(batches)}"
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
    """Batches as they come. If one cannot be had, its error comes last."""
    try:
        for batch in batches:  # noqa: UP028 - which would close a generator that the caller may go on with
            yield batch
    except Exception as error:  # noqa: BLE001 - it is raised again
        yield Missing(error)


async def taken_async(batches: Coming[S]) -> AsyncIterator[S | Missing]:
    """The same, however they come."""
    if not isinstance(batches, AsyncIterable):
        for each in taken(batches):
            yield each
        return
    try:
        async for batch in batches:
            yield batch
    except Exception as error:  # noqa: BLE001 - as above
        yield Missing(error)


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Says in errors which batch they are of, counted from 0: in the message of ours, in a note of others'."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, LosswireError):
            error.add_note(f"in batch {number}")
        with suppress(AttributeError):  # as of an error that takes none
            setattr(error, "batch", number)  # noqa: B010 - which others' errors have not
        raise
