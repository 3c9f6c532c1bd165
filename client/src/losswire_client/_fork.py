"""What becomes of clients in the child of a fork: gRPC's threads are not there, and locks may be held by nobody."""

import os
import weakref
from typing import Protocol

from losswire_client._errors import LosswireError

FALSE = ("0", "f", "false", "n", "no")  # as gRPC reads its variables


class Renewable(Protocol):
    def renew(self) -> None:
        """Starts anew, and lets nothing end that is the parent's."""


class Process:
    """What gRPC can do in this process.

    Attributes:
        is_child: Whether it was forked from one that had imported this package.
    """

    def __init__(self) -> None:
        self.is_child = False
        self._uses_aio = False
        self._lacks_grpc = False
        self._lacks_aio = False

    def check_grpc(self) -> None:
        """Raises an error where any call would hang."""
        if self._lacks_grpc:
            problem = "gRPC does not work in this process, which was forked with GRPC_ENABLE_FORK_SUPPORT=0"
            raise LosswireError(f"{problem}: unset that, or start processes by the spawn method")

    def check_aio(self) -> None:
        """Raises an error where any call of ``grpc.aio`` would hang; takes note that there will be some."""
        if self._lacks_aio:
            problem = "AsyncClient does not work in a process that was forked from one which had used it"
            raise LosswireError(f"{problem}: use Client there, or start processes by the spawn method")
        self._uses_aio = True

    def forked(self) -> None:
        self.is_child = True
        self._lacks_grpc = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() in FALSE
        self._lacks_aio = self._uses_aio


PROCESS = Process()
_renewables: "weakref.WeakSet[Renewable]" = weakref.WeakSet()


def renew_after_fork(renewable: Renewable) -> None:
    """Has it renewed in every child, before anything else runs there."""
    _renewables.add(renewable)


def _in_child() -> None:
    PROCESS.forked()
    for renewable in tuple(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
