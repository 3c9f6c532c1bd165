"""Holds a port that several processes are going to share, so that no other server gets it meanwhile."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from losswire_server.process.listening import NOT_OF_THIS_MACHINE, Address


@contextmanager
def held(address: Address) -> Iterator[int]:
    """Holds the port of an address, or a free one for port 0, for the length of a ``with`` block. Gives its number.

    Nobody connects to what holds it, since it does not listen: all connections go to the processes that do, with
    SO_REUSEPORT. A bind without that option is refused, also while none of the processes is there.

    Raises:
        AddressError: The host is not an address of this machine, or this user may not listen there.
        OSError: The port is taken.
    """
    with ExitStack() as holders:
        with address.explained():
            port = _hold(address, holders)
        yield port


def _hold(address: Address, holders: ExitStack) -> int:
    port, failures = address.port, list[OSError]()
    addresses = address.resolve()
    for family, bound in addresses:
        holder = holders.enter_context(socket.socket(family, socket.SOCK_STREAM))
        try:
            _bind(holder, (bound[0], port, *bound[2:]))
            port = holder.getsockname()[1]
        except OSError as error:
            if error.errno not in NOT_OF_THIS_MACHINE:
                raise
            failures.append(error)
    if len(failures) == len(addresses):
        raise failures[0]
    return port


def _bind(holder: socket.socket, bound: tuple[Any, ...]) -> None:
    """Binds as a single server would, and lets others share the port only then: a port in use would be shared too."""
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if holder.family == socket.AF_INET6:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    holder.bind(bound)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
