"""What evaluations with a key are given by a server that keeps no runs; and what they need of one that does."""

from collections.abc import Sequence
from typing import NoReturn, Protocol

from losswire_server.errors import NotServedError
from losswire_server.runs.records import Entry

Outcome = bool | Exception  # of an entry: whether its key was counted before, or why it is refused


class Commits(Protocol):
    """Adds evaluations to runs. Its methods raise the errors of `losswire_server.runs.errors`."""

    async def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Adds entries to their runs. Returns what came of each once all that are added are on disk."""

    async def check(self, run: str, digest: str, *, by_class: bool, key: str, slice: str) -> None:
        """Checks an entry before its evaluation, when its sums are not known.

        What it passes may still be refused.
        """


class NoRuns:
    """A server that keeps no runs."""

    async def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        return [not_served("run_key") for _ in entries]

    async def check(self, run: str, digest: str, *, by_class: bool, key: str, slice: str) -> NoReturn:  # noqa: ARG002
        raise not_served("run_key")


NO_RUNS = NoRuns()


def not_served(field: str) -> NotServedError:
    """The error for a field, or for an RPC by its name."""
    return NotServedError(field, "this server keeps no runs; it was not told where, by --runs")
