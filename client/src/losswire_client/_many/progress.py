"""The progress bar of many evaluations."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sized
from contextlib import aclosing, contextmanager
from importlib.util import find_spec

from losswire_client._install import missing
from losswire_client._request.fields import check_choice
from losswire_client._result import Result


def wants_bar(progress: bool) -> bool:
    """The argument `progress`, if the extra for it is installed."""
    check_choice("progress", progress, (False, True))
    if progress and find_spec("tqdm") is None:
        raise ImportError(missing("progress=True needs tqdm", "progress"))
    return progress


def shown(results: Iterator[Result], batches: object) -> Iterator[Result]:
    """Results as they come, with a bar of their number and their mean."""
    with _bar(batches) as count:
        for result in results:
            count(result)
            yield result


async def shown_async(results: AsyncGenerator[Result, None], batches: object) -> AsyncIterator[Result]:
    with _bar(batches) as count:
        async with aclosing(results):
            async for result in results:
                count(result)
                yield result


@contextmanager
def _bar(batches: object) -> Iterator[Callable[[Result], None]]:
    from tqdm.auto import tqdm

    loss_sum = weight_sum = 0.0
    with tqdm(total=len(batches) if isinstance(batches, Sized) else None, unit="batch") as bar:

        def count(result: Result) -> None:
            nonlocal loss_sum, weight_sum
            loss_sum += result.loss_sum
            weight_sum += result.weight_sum
            bar.set_postfix(loss=loss_sum / weight_sum if weight_sum else float("nan"), refresh=False)
            bar.update()

        yield count
