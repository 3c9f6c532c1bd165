"""Keys as texts: ``NAME@FINGERPRINT:ROW``, and with slices of rows ``NAME@FINGERPRINT:ROW:SLICE``."""

import re
from typing import NamedTuple

from losswire_client._keys._contents import DIGITS

KEY = re.compile(rf"(.+)@([0-9a-f]{{{DIGITS}}}):\d+(:.*)?", re.DOTALL)


class Parsed(NamedTuple):
    """What a key says of its file."""

    name: str
    fingerprint: str


def key_of(name: str, fingerprint: str, first_row: int) -> str:
    """The key of a block of rows. The slice of its rows may follow a colon.

    Args:
        name: Name of the file.
        fingerprint: Its fingerprint.
        first_row: The first row of the block in the file.
    """
    return f"{name}@{fingerprint}:{first_row}"


def parsed(key: str) -> Parsed | None:
    """The file of a key; None if it is not the key of a block of a file."""
    found = KEY.fullmatch(key)
    return Parsed(found[1], found[2]) if found else None


def check_name(name: str) -> None:
    """Refuses a name of a file that cannot be in a key.

    Raises:
        ValueError: It cannot.
    """
    if not name.isprintable():
        raise ValueError("a run's keys have no names with control characters or bytes that are no text")
