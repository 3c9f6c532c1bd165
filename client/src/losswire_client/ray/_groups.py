"""Rows of a dataset that have one key, as the arguments of a loss."""

from typing import Any

import numpy as np

from losswire_client._errors import invalid_argument, shown
from losswire_client._readers import Array
from losswire_client._readers._names import INPUT_NAMES, TARGET_NAMES
from losswire_client.ray._parts import Names
from losswire_client.ray._slices import Rows


def named(columns: list[str], names: Names, key: str) -> Names:
    """The names of a dataset's columns, with those that were left open.

    Raises:
        InvalidArgumentError: There is no such column, or several that may be meant.
    """
    chosen = names._replace(
        input=_chosen(columns, "input", names.input, INPUT_NAMES),
        target=_chosen(columns, "target", names.target, TARGET_NAMES),
    )
    for argument, name in {**chosen._asdict(), "key": key}.items():
        if name is not None and name not in columns:
            raise invalid_argument(argument, f"expected one of the columns {', '.join(columns)}, got {shown(name)}")
    return chosen


def _chosen(columns: list[str], argument: str, name: str | None, usual: tuple[str, ...]) -> str:
    if name is not None:
        return name
    found = [column for column in usual if column in columns]
    if len(found) != 1:
        there = f"both {found[0]} and {found[1]}" if found else f"none of {', '.join(usual)}"
        raise invalid_argument(argument, f"expected it, since the dataset has {there}")
    return found[0]


def key_of(name: str, values: Array) -> str:
    """The key that all rows of a group have.

    Raises:
        InvalidArgumentError: It is no text and no integer.
    """
    value = values[0]
    if isinstance(value, np.floating) or value is None or not isinstance(value, str | np.integer | int):
        raise invalid_argument("key", f"expected texts or integers in {name}, and one in every row, got {shown(value)}")
    return str(value)


def rows_of(group: dict[str, Array], names: Names) -> Rows:
    """The rows of a group. Lists become arrays.

    Raises:
        ValueError: The lists of a column differ in length, or a row has no value.
    """
    return Rows(**{argument: _array(name, group[name]) for argument, name in names._asdict().items() if name})


def _array(name: str, values: Array) -> Array:
    if values.dtype != object:
        return values
    rows: list[Any] = list(values)
    if any(row is None for row in rows):
        raise ValueError(f"{name} has a row without a value")
    if all(isinstance(row, str) for row in rows):
        return values
    try:
        return np.stack([np.asarray(row) for row in rows])
    except ValueError as error:
        raise ValueError(f"{name} has rows of several shapes") from error
