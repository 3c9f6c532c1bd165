"""The run behind a metric: what it gives in place of arguments and of the metric's own sums."""

from typing import Any

from losswire_client import Run
from losswire_client._errors import invalid_argument, shown


class RunHandle:
    """The run of a metric. Copies of the metric share it, and a pickled metric contains it.

    Attributes:
        run: None for a metric without one.
    """

    def __init__(self, run: Run | None) -> None:
        if run is not None and not isinstance(run, Run):
            raise invalid_argument("run", f"expected a Run or None, got a {type(run).__name__}")
        self.run = run

    def __deepcopy__(self, memo: dict[int, Any]) -> "RunHandle":
        return self


def check_arguments(run: Run | None, losses: tuple[str, ...], **given: Any) -> None:
    """Refuses a run of another loss, and arguments beside a run, which are its own.

    Args:
        run: The run.
        losses: The losses that the metric evaluates.
        **given: Arguments of the metric that differ from their defaults, or None.
    """
    if run is None:
        return
    if run.loss not in losses:
        raise invalid_argument("run", f"expected a run of {' or '.join(losses)}, got one of {run.loss}")
    for name, value in given.items():
        if value is not None:
            raise invalid_argument(name, "expected no such argument beside a run, which has it: see `Run.options`")


def unless_default(value: object, default: float) -> object:
    """None if an argument, which may be anything, is the number that it is by default."""
    return None if isinstance(value, int | float) and value == default else value


def check_key(run: Run | None, key: str | None, slice: str) -> None:
    if run is not None and key is None:
        raise invalid_argument("key", "expected a name for this part of the data, got None")
    if run is None and key is not None:
        raise invalid_argument("key", f"expected none for a metric without a run, got {shown(key)}")
    if run is None and slice != "":
        raise invalid_argument("slice", f"expected none for a metric without a run, got {shown(slice)}")
