"""Which callers get a lease on a region, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from losswire_server.errors import NotPermittedError
from losswire_server.memory.regions import Lease, Regions


class Leases:
    """Regions, each leased for as long as a call lasts."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._ended = asyncio.Event()

    @property
    def max_bytes(self) -> int:
        """The quota of all regions together; 0 leases none."""
        return self._regions.max_bytes

    def check(self, size_bytes: int, peer: str) -> None:
        """Checks whether a caller may ever lease a region of that size.

        Raises:
            NotPermittedError: The caller is not on this machine.
            Exception: See `Regions.check_size`.
        """
        if self._regions.max_bytes and not is_local(peer):
            raise NotPermittedError("LeaseSharedMemory: expected a caller on the server's machine, over loopback")
        self._regions.check_size(size_bytes)

    async def lease(self, size_bytes: int, peer: str) -> AsyncIterator[Lease]:
        """Gives one region, and takes it back when the caller's call ends or `end` is called.

        Raises:
            Exception: See `check` and `Regions.lease`.
        """
        self.check(size_bytes, peer)
        lease = self._regions.lease(size_bytes)
        try:
            yield lease
            await self._ended.wait()
        finally:
            if not self._ended.is_set():
                # In a thread, since giving a gigabyte back to the kernel takes a tenth of a second.
                asyncio.get_running_loop().run_in_executor(None, self._regions.release, lease.region_id)

    def end(self) -> None:
        """Ends all leases. The regions stay for running evaluations until `Regions.close`."""
        self._ended.set()


def is_local(peer: str) -> bool:
    """Whether a peer, as gRPC names it, is on this machine: ``ipv4:127.0.0.1:5``, ``ipv6:[::1]:5``, ``unix:``."""
    kind, _, address = unquote(peer).partition(":")
    if kind in ("unix", "unix-abstract"):
        return True
    try:
        ip = ip_address(address.rpartition(":")[0].strip("[]")) if kind in ("ipv4", "ipv6") else None
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return ip is not None and (mapped or ip).is_loopback
