"""Regions of shared memory. The server owns them; callers on its machine map them, so that nothing needs to be sent.

A caller can write to a region at any time, but cannot change its size. So two reads of the same bytes may differ, and
data that memory safety rests on must be copied before it is checked: see `losswire_server.requests.shared_memory`.

A region is a file without a name (memfd). Its size is sealed, since a file that shrinks would end the server with a
SIGBUS. Callers open it under the server's /proc entry, which requires the right to attach a debugger to the server.
"""

import fcntl
import math
import mmap
import os
import resource
import secrets
import threading
import weakref
from pathlib import Path
from typing import NamedTuple

import torch

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.errors import FieldError
from losswire_server.errors import NotServedError, OverloadedError, TooLargeError

RETRY_MILLISECONDS = 1000
STRICT_OVERCOMMIT = "2"


class Lease(NamedTuple):
    """What the caller needs to know of its region: see `LeaseSharedMemoryResponse`."""

    region_id: str
    path: str
    size_bytes: int


class _Region(NamedTuple):
    descriptor: int
    mapping: mmap.mmap  # never closed: it is freed with the last tensor that lies in it


class Regions:
    """The regions that are leased. May be used from any thread.

    A region counts against the quota until its lease is over and no evaluation uses it any more. Memory that a
    caller keeps mapped after that belongs to the caller's process.

    Args:
        max_bytes: The quota of all regions together; 0 leases none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._regions: dict[str, _Region] = {}
        # Reentrant: a garbage collection while it is held may free a mapping, which needs it too.
        self._lock = threading.RLock()

    @property
    def leased_bytes(self) -> int:
        return self._bytes

    @property
    def count(self) -> int:
        """How many are leased."""
        return len(self._regions)

    def lease(self, size_bytes: int) -> Lease:
        """Makes a region, which must be released later.

        Raises:
            FieldError: The size is not positive.
            NotServedError: This server leases no memory.
            TooLargeError: No region can be so large.
            OverloadedError: The quota is used up.
        """
        self.check_size(size_bytes)
        size = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        region_id = secrets.token_urlsafe(16)
        with self._lock:
            self._reserve(size)
            try:
                region = self._regions[region_id] = _make(region_id, size)
            except OSError as error:
                self._bytes -= size
                problem = f"the machine cannot allocate a region of {size} bytes: {error.strerror}"
                raise OverloadedError(problem, RETRY_MILLISECONDS, "shared_memory") from error
            weakref.finalize(region.mapping, self._give_back, size).atexit = False
        return Lease(region_id, f"/proc/{os.getpid()}/fd/{region.descriptor}", size)

    def check_size(self, size_bytes: int) -> None:
        """Checks a size, whatever is leased now.

        Raises:
            FieldError: It is not positive.
            NotServedError: This server leases no memory.
        """
        if not self.max_bytes:
            raise NotServedError("LeaseSharedMemory", "this server leases no shared memory")
        if size_bytes < 1:
            raise FieldError("size_bytes", f"expected at least 1, got {size_bytes}")

    def release(self, region_id: str) -> None:
        """Ends a lease. The region is unknown from now on, and its memory is freed once no evaluation uses it."""
        with self._lock:
            region = self._regions.pop(region_id, None)
        if region is not None:
            os.close(region.descriptor)

    def close(self) -> None:
        """Ends all leases."""
        for region_id in list(self._regions):
            self.release(region_id)

    def view(self, span: v1.SharedMemorySpan, field: str, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        """A tensor at the place that a span names. The caller may write to it at any time.

        Raises:
            FieldError: There is no such region, or the tensor is not within it.
            NotServedError: This server leases no memory.
        """
        count = math.prod(shape)
        region = self._holding(span, field, count * dtype.itemsize, dtype.itemsize)
        if not count:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(region.mapping, dtype=dtype, count=count, offset=span.offset_bytes).view(shape)

    def check(self, tensor: v1.Tensor, field: str) -> None:
        """Checks that a tensor whose dtype and shape are right lies within a region.

        Raises:
            Exception: As `view`.
        """
        itemsize = BY_WIRE[tensor.dtype].itemsize
        self._holding(tensor.shared_memory, field, math.prod(tensor.shape) * itemsize, itemsize)

    def _holding(self, span: v1.SharedMemorySpan, field: str, nbytes: int, itemsize: int) -> _Region:
        if not self.max_bytes:
            raise NotServedError(field, "shared memory is not served here; send the elements in data")
        region = self._regions.get(span.region_id)
        if region is None:
            raise FieldError(f"{field}.region_id", "expected the id of a region that is leased, got an unknown one")
        offset, size = span.offset_bytes, len(region.mapping)
        if offset < 0 or offset % itemsize or offset + nbytes > size:
            raise FieldError(
                f"{field}.offset_bytes",
                f"expected a multiple of {itemsize} from which {nbytes} bytes lie within {size}, got {offset}",
            )
        return region

    def _reserve(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooLargeError(f"a region of {size} bytes can never be leased: at most {self.max_bytes} can in all")
        if self._bytes + size > self.max_bytes:
            problem = f"{self._bytes} of at most {self.max_bytes} bytes are leased, and this region has {size}"
            raise OverloadedError(problem, RETRY_MILLISECONDS, "shared_memory")
        if len(self._regions) >= _most_regions():
            problem = f"{len(self._regions)} regions are leased, and no more can be"
            raise OverloadedError(problem, RETRY_MILLISECONDS, "shared_memory")
        self._bytes += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._bytes -= size


OFF = Regions(0)


def supported() -> bool:
    """Whether this machine can lease memory at all.

    With strict overcommit the kernel may refuse a page of a region when it is first touched, which ends the server.
    """
    strict = Path("/proc/sys/vm/overcommit_memory")
    sealable = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
    return sealable and strict.exists() and strict.read_text().strip() != STRICT_OVERCOMMIT


def _make(region_id: str, size: int) -> _Region:
    # Named after the region, so that a caller that opens the path sees whether it is still the same region.
    descriptor = os.memfd_create(f"losswire-{region_id}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return _Region(descriptor, mmap.mmap(descriptor, size))
    except BaseException:
        os.close(descriptor)
        raise


def _most_regions() -> int:
    """How many regions the limit of open files allows.

    A region takes one descriptor, and its mapping another: Python's mmap duplicates it. Connections need some too.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most // 4 if most != resource.RLIM_INFINITY else 2**20
