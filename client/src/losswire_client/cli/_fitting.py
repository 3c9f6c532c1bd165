"""Which columns of a table a terminal has room for, and how wide they are."""

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len

from losswire_client.cli._output import stdout

BESIDE = 3  # what a column takes beside its text: a line and two spaces
NARROWEST = 4  # of columns that wrap

Cells = Mapping[str, Sequence[str]]  # the heading and the texts of each column


def fitting(
    cells: Cells, wrapping: Mapping[str, int], first_left_out: Iterable[str], beside: int = BESIDE
) -> dict[str, int]:
    """The columns that are shown, with their widths. Numbers are never cut, so columns are left out instead.

    Args:
        cells: All columns.
        wrapping: Columns that may be narrower than their texts, and how wide they should be at least.
        first_left_out: Columns that are left out, one after the other, as long as room is short.
        beside: What a column takes beside its text.
    """
    natural = {name: max(map(cell_len, texts)) for name, texts in cells.items()}
    widths = {name: min(width, wrapping.get(name, width)) for name, width in natural.items()}
    for name in first_left_out:
        if _room(widths, beside) >= 0:
            break
        widths.pop(name, None)
    for name in filter(widths.__contains__, wrapping):
        least = min(widths[name], NARROWEST)
        widths[name] = max(least, min(natural[name], widths[name] + _room(widths, beside)))
    return widths


def left_out(cells: Cells, widths: Mapping[str, int]) -> str:
    """What to say of columns that are not shown; empty if all are."""
    names = [texts[0] for name, texts in cells.items() if name not in widths]
    return f"no room for {', '.join(names)}; --json has all" if names else ""


def _room(widths: Mapping[str, int], beside: int) -> int:
    return stdout().width - 1 - sum(width + beside for width in widths.values())
