"""What this server asks of malloc: to keep the memory of old messages for new ones.

glibc gives freed blocks of more than some 128 KiB back to the kernel, which then hands out and zeroes their pages one
by one, several times slower than they are written. See mallopt(3).
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MAPPED_FROM_BYTES = 32 * 2**20  # blocks from here on are given back at once; the most that glibc takes
KEPT_BYTES = 256 * 2**20  # free memory at the end of a heap that is not given back: five copies of 32 MB, and room
ARENAS = 1  # heaps; each thread's own would keep what others have freed: 30 MiB more after streams, and nothing gained


def keep_freed_memory() -> bool:
    """Sets this process's malloc, unless its environment does. Returns whether it did; only glibc can."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    chosen = "glibc.malloc" in tunables or any(name.startswith("MALLOC_") for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not chosen else None
    settings = {M_MMAP_THRESHOLD: MAPPED_FROM_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: ARENAS}
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in settings.items())
