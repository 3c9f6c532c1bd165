"""Regions: the server's shared memory, mapped into this process."""

import ctypes
import mmap
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire_client._errors import PermissionDeniedError


class Region:
    """A region that is leased and mapped. Its memory lasts as long as this object, even when the lease is over.

    Args:
        lease: The server's description of the region.
        is_leased: Tells whether the lease lasts.
        end: Ends the lease.

    Raises:
        PermissionDeniedError: The region cannot be opened here, or the path leads to something else.
    """

    def __init__(
        self, lease: v1.LeaseSharedMemoryResponse, is_leased: Callable[[], bool], end: Callable[[], object]
    ) -> None:
        self.region_id, self.size = lease.region_id, lease.size_bytes
        self._mapping = _map(lease)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._mapping))
        self.end = end
        self._is_leased, self._lost = is_leased, False

    @property
    def is_leased(self) -> bool:
        return not self._lost and self._is_leased()

    def lose(self) -> None:
        """Notes that the server knows no such region any more."""
        self._lost = True

    def span_of(self, array: npt.NDArray[np.generic]) -> v1.SharedMemorySpan | None:
        """Where an array lies in this region; None if it lies elsewhere, or is not laid out as the contract wants."""
        offset = array.__array_interface__["data"][0] - self.address
        if offset < 0 or offset + array.nbytes > self.size or offset % array.itemsize:
            return None
        if not array.flags.c_contiguous or not array.dtype.isnative or array.dtype.name not in BY_NAME:
            return None
        return v1.SharedMemorySpan(region_id=self.region_id, offset_bytes=offset)


class Held:
    """A region in use by a call or by arrays. Its pool decides what happens to it when nobody holds it."""

    def __init__(self, region: Region) -> None:
        self.region = region

    @property
    def __array_interface__(self) -> dict[str, object]:
        return {"version": 3, "typestr": "|u1", "shape": (self.region.size,), "data": (self.region.address, False)}

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """An array at the start of the region. The array and all its views hold the region."""
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        return np.asarray(self)[:nbytes].view(dtype).reshape(shape)


def _map(lease: v1.LeaseSharedMemoryResponse) -> mmap.mmap:
    name = f"/memfd:losswire-{lease.region_id} (deleted)"
    try:
        # Behind a proxy the server may be on another machine, and the path may lead to something else on this one.
        if os.readlink(lease.path) == name:
            descriptor = os.open(lease.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.readlink(f"/proc/self/fd/{descriptor}") == name and _is_sealed(descriptor, lease.size_bytes):
                    return mmap.mmap(descriptor, lease.size_bytes)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise PermissionDeniedError(f"the server's memory cannot be opened by this process: {error}") from error
    raise PermissionDeniedError("the server's memory is not on this machine")


def _is_sealed(descriptor: int, size: int) -> bool:
    """Whether neither side can shrink the memory while the other uses it."""
    import fcntl  # platforms without this module have no such path

    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & wanted == wanted and os.fstat(descriptor).st_size == size
