"""What evaluations need of heads, and what a server gives them that holds none."""

from typing import NoReturn, Protocol

import ce_engine
from losswire_server.errors import NotServedError
from losswire_server.heads.held import Held


class UsesHeads(Protocol):
    """What evaluations need of heads."""

    def use(self, name: str, field: str) -> ce_engine.Head:
        """The head of a digest or alias. It stays as long as anybody has it.

        Raises:
            HeadNotFoundError: This server does not hold it, or the caller may not use it.
            NotPermittedError: The caller may not use this alias.
            NotServedError: It holds none, which is told of the field.
        """

    def find(self, name: str, field: str) -> Held | None:
        """The head of a digest or alias, as it is told; None if it is not here. It is not used thereby.

        Raises:
            NotPermittedError: The caller may not use this alias, which the field has.
        """


class NoHeads:
    """A server that holds no heads."""

    def use(self, name: str, field: str) -> NoReturn:  # noqa: ARG002
        raise no_heads(field)

    def find(self, name: str, field: str) -> None:  # noqa: ARG002
        return None


NO_HEADS = NoHeads()


def no_heads(field: str) -> NotServedError:
    """The error for a field, or for an RPC by its name."""
    return NotServedError(field, "this server holds no heads; it got none by --heads, and lets callers register none")
