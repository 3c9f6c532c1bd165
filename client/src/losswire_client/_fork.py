"""What becomes of clients in the child of a fork: gRPC's threads are not there, and locks may be held by nobody."""

import os
import weakref
from typing import Protocol

from losswire_client._errors import LosswireError

_FALSE = ("0", "f", "false", "n", "no")  # as gRPC reads its variables


class Renewable(Protocol):
    def renew(self) -> None:
        """Starts anew, and lets nothing end that is the parent's."""


_renewables: "weakref.WeakSet[Renewable]" = weakref.WeakSet()
_is_cut_off = False


def renew_after_fork(renewable: Renewable) -> None:
    """Has it renewed in every child, before anything else runs there."""
    _renewables.add(renewable)


def check_usable() -> None:
    """Raises an error where gRPC would hang."""
    if _is_cut_off:
        problem = "gRPC does not work in this process, which was forked with GRPC_ENABLE_FORK_SUPPORT=0"
        raise LosswireError(f"{problem}: unset that, or start processes by the spawn method")


def _in_child() -> None:
    global _is_cut_off
    _is_cut_off = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() in _FALSE
    for renewable in tuple(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
