"""Tells the server who calls."""

import logging
import os
from pathlib import Path

from losswire_client._errors import InvalidArgumentError, invalid_argument
from losswire_client._tracing.active import Metadata
from losswire_client._wires.files import Watch, read_file

MAX_CHARACTERS = 4096  # metadata of more than 8 KiB may be refused on the way

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
        self._metadata = _bearer(token) if isinstance(token, str) else _bearer_in(Path(token))

    def metadata(self) -> Metadata:
        if self._file is not None and self._watch.has_changed():
            try:
                self._metadata = _bearer_in(self._file)
            except InvalidArgumentError as error:  # perhaps half written: use the old one until it changes again
                log.warning("%s", error)
        return self._metadata


def _bearer_in(file: Path) -> Metadata:
    return _bearer(read_file("token", file).decode(errors="replace"), f" in the file {str(file)!r}")


def _bearer(token: str, where: str = "") -> Metadata:
    """The metadata of a token. Its text is in no error, since it is a secret."""
    token = token.strip()
    if problem := _problem(token):
        wanted = f"a text of 1 to {MAX_CHARACTERS} printable ASCII characters without spaces"
        raise invalid_argument("token", f"expected {wanted}{where}, got {problem}")
    return (("authorization", f"Bearer {token}"),)


def _problem(token: str) -> str:
    if not token:
        return "none"
    if len(token.splitlines()) > 1:
        return f"{len(token.splitlines())} lines"
    if not token.isascii():
        return "others than ASCII"
    if not token.isprintable() or " " in token:
        return "one with spaces or control characters"
    return f"{len(token)} characters" if len(token) > MAX_CHARACTERS else ""
