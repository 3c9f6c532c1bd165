"""Tells malloc to keep the memory of old messages for new ones.

glibc gives freed blocks larger than about 128 KiB back to the kernel. The kernel then hands out and zeroes pages one by
one, which takes several times longer than writing to them. See mallopt(3).

Slabs are kept. Larger messages are given back, since few blocks of other sizes would fit where they were. What arrives
of them lies in many small blocks, whose memory glibc keeps unless it is at the end of the heap: see malloc_trim(3).
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LEAST_MAPPED_BYTES, MOST_MAPPED_BYTES = 4 * 2**20, 32 * 2**20  # glibc takes no larger threshold
TRIMMED_FROM = 2  # times as much as is kept: what is given back must be worth its time
ARENAS = 1  # heaps; one for each thread would keep freed memory from the others: 30 MiB more after streams, no gain


MALLINFO = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


class _MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2, see mallinfo(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO]


class FreedMemory:
    """The memory that malloc keeps after it was freed. Only glibc can be told how much.

    Args:
        kept_bytes: That is kept.
    """

    def __init__(self, kept_bytes: int) -> None:
        tunables = os.environ.get("GLIBC_TUNABLES", "")
        is_chosen = "glibc.malloc" in tunables or any(name.startswith("MALLOC_") for name in os.environ)
        self._kept_bytes = kept_bytes
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" and not is_chosen else None

    @property
    def _mapped_from_bytes(self) -> int:
        """Larger blocks are given back at once: the less is kept, the fewer of them would find room in it."""
        return max(LEAST_MAPPED_BYTES, min(self._kept_bytes // 2, MOST_MAPPED_BYTES))

    def keep(self) -> bool:
        """Sets this process's malloc, unless its environment does. Returns whether it did."""
        mallopt = getattr(self._libc, "mallopt", None)
        settings = {
            M_MMAP_THRESHOLD: self._mapped_from_bytes,
            M_TRIM_THRESHOLD: TRIMMED_FROM * self._kept_bytes,
            M_ARENA_MAX: ARENAS,
        }
        return mallopt is not None and all(mallopt(*setting) == 1 for setting in settings.items())

    def give_back(self) -> bool:
        """Gives back what is free within the heap, if it is far more than is kept. Returns whether it did.

        It takes up to a tenth of a second, in which no other thread gets memory.
        """
        mallinfo, trim = getattr(self._libc, "mallinfo2", None), getattr(self._libc, "malloc_trim", None)
        if mallinfo is None or trim is None:
            return False
        mallinfo.restype = _MallInfo
        is_much: bool = mallinfo().fordblks > TRIMMED_FROM * self._kept_bytes
        return is_much and trim(ctypes.c_size_t(self._kept_bytes)) == 1
