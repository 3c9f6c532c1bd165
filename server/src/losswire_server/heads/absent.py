"""What evaluations need of heads, and what a server gives them that holds none."""

from typing import NoReturn, Protocol

import ce_engine
from losswire_server.errors import NotServedError
from losswire_server.heads.errors import HeadNotFoundError


class UsesHeads(Protocol):
    """What evaluations need of heads."""

    def use(self, name: str, field: str) -> ce_engine.Head:
        """The head of a digest or alias. It stays as long as anybody has it.

        Raises:
            HeadNotFoundError: This server does not hold it.
            NotServedError: It holds none, which is told of the field.
        """

    def digest(self, name: str) -> str:
        """The digest of the head of a digest or alias.

        Raises:
            HeadNotFoundError: This server does not hold it.
        """


class NoHeads:
    """A server that holds no heads."""

    def use(self, name: str, field: str) -> NoReturn:  # noqa: ARG002
        raise no_heads(field)

    def digest(self, name: str) -> NoReturn:
        raise HeadNotFoundError(name)


NO_HEADS = NoHeads()


def no_heads(field: str) -> NotServedError:
    """The error for a field, or for an RPC by its name."""
    return NotServedError(field, "this server holds no heads; it got none by --heads, and lets callers register none")
