"""Why a server does not start."""

from losswire_server.text import one_line


class CannotStartError(Exception):
    """The server cannot start. The message says why, in one line."""


def root_of(error: BaseException) -> str:
    """The first cause of an error, in one line: libraries wrap it in pages of advice."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment] # one of them is there
    return one_line(str(error).strip() or type(error).__name__)
