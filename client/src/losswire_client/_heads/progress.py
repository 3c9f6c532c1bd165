"""The progress bar of a head on its way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from losswire_client._install import missing
from losswire_client._request.fields import check_choice


def check_progress(progress: bool) -> bool:
    """The argument `progress`, if the extra for it is installed."""
    check_choice("progress", progress, (False, True))
    if progress and find_spec("tqdm") is None:
        raise ImportError(missing("progress=True needs tqdm", "progress"))
    return progress


def tell_nobody(nbytes: int) -> None:
    """Takes the number of bytes that a server has."""


@contextmanager
def reporting(total: int, *, shows: bool) -> Iterator[Callable[[int], object]]:
    """Gives what is to be told how many bytes the server has. It shows them in a bar, if asked to."""
    if not shows:
        yield tell_nobody
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="B", unit_scale=True) as bar:
        yield lambda nbytes: bar.update(nbytes - bar.n)
