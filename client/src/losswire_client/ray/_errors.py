"""Errors of the SDK that were raised elsewhere on the cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayActorError, RayTaskError

from losswire_client import LosswireError


@contextmanager
def own_errors() -> Iterator[None]:
    """Raises an error of the SDK as it was raised there, without the stacks of Ray's in its message."""
    try:
        yield
    except (RayTaskError, RayActorError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, LosswireError):
            raise cause from error
        raise
