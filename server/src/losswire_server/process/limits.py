"""What the operating system lets this process have, checked before anything is built that needs it.

gRPC's library never comes up, or crashes, where it gets no thread; and a server that gets no descriptor takes no calls.
"""

import os
import resource
import threading
from contextlib import suppress

from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError

OWN_FILES = 24  # of an idle server beyond those that it inherits: sockets, event loops, pipes between its threads
FILES_OF_CALLERS = 32  # connections, scrapes and regions that are the least to be of use
OWN_BYTES = 256 * 2**20  # of the address space, for stacks and heaps of threads
LIBRARIES_BYTES = 640 * 2**20  # of the address space, for the smallest build of PyTorch, and the other libraries
OWN_THREADS = 24  # of the server with gRPC's, and some more for scrapes of the metrics
PROBE_SECONDS = 10.0
UNLIMITED = resource.RLIM_INFINITY
KIB = 1024


def raise_open_files() -> None:
    """Raises the limit of open files as far as this user may.

    Raises:
        WrongSettingsError: It is too low for a server.
    """
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        with suppress(ValueError, OSError):  # the machine's own limit may be lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            soft = most
    least = _open_files() + OWN_FILES + FILES_OF_CALLERS
    if soft != UNLIMITED and soft < least:
        raise WrongSettingsError(f"open files: expected a limit (ulimit -n) of at least {least}, got {soft}")


def check_threads(settings: Settings) -> None:
    """Starts as many threads as the server needs at the same time, and ends them.

    Raises:
        WrongSettingsError: The operating system refuses one.
    """
    needed = OWN_THREADS + settings.workers * settings.torch_threads
    got = _startable_threads(needed)
    if got < needed:
        raise WrongSettingsError(
            f"threads: expected that this process may start {needed}, for engine_workers {settings.workers} and "
            f"torch_threads {settings.torch_threads}, got {got}: see ulimit -u, ulimit -v, and the pids of the cgroup"
        )


def check_address_space(settings: Settings, *, loaded: bool) -> None:
    """Checks that what callers may send fits beside the server itself, where libraries abort rather than fail.

    Args:
        settings: Those of the server.
        loaded: Whether the libraries are mapped by now.

    Raises:
        WrongSettingsError: The limit of the address space is too low.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    own = _mapped_bytes() + OWN_BYTES + (0 if loaded else LIBRARIES_BYTES)
    least = own + settings.max_inflight_bytes
    if most != UNLIMITED and most < least:
        raise WrongSettingsError(
            f"address space: expected a limit (ulimit -v) of at least {-(-least // KIB)} KiB, for max_inflight_bytes "
            f"{settings.max_inflight_bytes} and the server itself, got {most // KIB}"
        )


def told_address_space() -> str:
    """Says that the address space is limited, where it is, for errors of a lack of memory."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if most == UNLIMITED else f"; the limit of the address space (ulimit -v) is {most // KIB} KiB"


def _startable_threads(wanted: int) -> int:
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait, args=(PROBE_SECONDS,), daemon=True) for _ in range(wanted)]
    begun = 0
    try:
        for thread in threads:
            thread.start()
            begun += 1
    except RuntimeError:  # can't start new thread
        pass
    finally:
        enough.set()
    for thread in threads[:begun]:
        thread.join()
    return begun


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the folder's own
    except OSError:
        return 3


def _mapped_bytes() -> int:
    try:
        with open("/proc/self/statm") as told:
            return int(told.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
