"""Rules of a request that both sides go by: the SDK before it sends one, and the server before it works for one."""

import re
from collections.abc import Collection

from losswire.tensors import FieldError

MAX_SHOWN = 100  # characters of a wrong name
SERIES = re.compile(r"[A-Za-z0-9_.:/-]{0,64}")


def check_series(series: str) -> None:
    """Checks the name under which a loss is added up.

    Raises:
        FieldError: It is none.
    """
    if not SERIES.fullmatch(series):
        came = repr(series) if len(series) <= MAX_SHOWN else f"{len(series)} characters"
        raise FieldError("series", f"expected up to 64 letters, digits and any of _.:/-, got {came}")


def check_each_once(outputs: Collection[int]) -> None:
    """Checks that no output is asked for twice.

    Raises:
        FieldError: One is.
    """
    if len(set(outputs)) < len(outputs):
        raise FieldError("outputs.outputs", "expected each at most once")
