"""Addresses to listen on, checked before anything is built that would have to be taken down again."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

NOT_OF_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class AddressError(ValueError):
    """The settings name an address on which this machine, or this user, can never listen."""


class Address(NamedTuple):
    """A host and a port, with the names of their settings."""

    host: str
    port: int
    host_setting: str
    port_setting: str

    def __str__(self) -> str:
        host = self.host.strip("[]")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def resolve(self) -> list[tuple[int, tuple[Any, ...]]]:
        """The families and socket addresses of the host, the preferred one first.

        Raises:
            AddressError: The host has no address.
        """
        try:
            found = socket.getaddrinfo(
                self.host.strip("[]"), self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (socket.gaierror, ValueError):  # a ValueError for text that cannot be a name
            raise AddressError(self._expected_host()) from None
        return [(family, address) for family, _, _, _, address in found]

    def check(self) -> None:
        """Listens for a moment, to find out whether the server can.

        Raises:
            AddressError: This machine or this user cannot listen there.
            OSError: The port is taken, or the machine has run out of a resource.
        """
        failures = []
        addresses = self.resolve()
        with self.explained():
            for family, address in addresses:
                try:
                    _listen(family, address)
                except OSError as error:
                    if error.errno not in NOT_OF_THIS_MACHINE:
                        raise
                    failures.append(error)
            if len(failures) == len(addresses):
                raise failures[0]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Replaces an OSError with an error that names the setting."""
        try:
            yield
        except OSError as error:
            raise self._explain(error) from None

    def taken(self) -> OSError:
        return OSError(errno.EADDRINUSE, f"{self.port_setting}: cannot listen on {self}; is another server there?")

    def _explain(self, error: OSError) -> Exception:
        if error.errno in NOT_OF_THIS_MACHINE:
            return AddressError(self._expected_host())
        if error.errno == errno.EACCES:
            return AddressError(f"{self.port_setting}: expected one that this user may listen on, got {self.port}")
        if error.errno == errno.EADDRINUSE:
            return self.taken()
        return OSError(error.errno, f"{self.port_setting}: cannot listen on {self}: {error.strerror}")

    def _expected_host(self) -> str:
        return f"{self.host_setting}: expected an address or a name of this machine, got {self.host!r}"


def _listen(family: int, address: tuple[Any, ...]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: one may follow another at once
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
        probe.listen()
