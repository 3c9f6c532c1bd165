"""Tells malloc to keep the memory of old messages for new ones.

glibc gives freed blocks larger than about 128 KiB back to the kernel. The kernel then hands out and zeroes pages one by
one, which takes several times longer than writing to them. See mallopt(3).
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MAPPED_FROM_BYTES = 32 * 2**20  # larger blocks are given back at once; glibc takes no larger threshold
KEPT_BYTES = 256 * 2**20  # free memory kept at the end of a heap: five copies of 32 MB, and some to spare
ARENAS = 1  # heaps; one for each thread would keep freed memory from the others: 30 MiB more after streams, no gain


def keep_freed_memory() -> bool:
    """Sets this process's malloc, unless its environment does. Returns whether it did: only glibc can be set."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    chosen = "glibc.malloc" in tunables or any(name.startswith("MALLOC_") for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not chosen else None
    settings = {M_MMAP_THRESHOLD: MAPPED_FROM_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: ARENAS}
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in settings.items())
