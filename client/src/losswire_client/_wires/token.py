"""Tells the server who calls."""

import logging
import os
from pathlib import Path

from losswire_client._errors import InvalidArgumentError, invalid_argument
from losswire_client._tracing.active import Metadata
from losswire_client._wires.files import Watch, read_file

log = logging.getLogger("losswire_client")


class Token:
    """A bearer token, sent with every call.

    Args:
        token: The token, or the path of a file that contains it. The file may be replaced.

    Raises:
        InvalidArgumentError: The token is not valid, or the file cannot be read.
    """

    def __init__(self, token: str | os.PathLike[str]) -> None:
        if not isinstance(token, str | os.PathLike):
            raise invalid_argument("token", f"expected a text, or the path of a file, got a {type(token).__name__}")
        self._file = None if isinstance(token, str) else Path(token)
        self._watch = Watch(() if self._file is None else (self._file,))
        self._metadata = _bearer(token if isinstance(token, str) else _read(Path(token)))

    def metadata(self) -> Metadata:
        if self._file is not None and self._watch.has_changed():
            try:
                self._metadata = _bearer(_read(self._file))
            except InvalidArgumentError as error:  # perhaps half written: use the old one until it changes again
                log.warning("%s", error)
        return self._metadata


def _read(file: Path) -> str:
    return read_file("token", file).decode(errors="replace")


def _bearer(token: str) -> Metadata:
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise invalid_argument("token", "expected printable ASCII characters without spaces, got others or none")
    return (("authorization", f"Bearer {token}"),)
