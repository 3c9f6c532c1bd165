"""The server of Losswire: ``losswire-server``, or :class:`Server` in a program of your own.

A call goes through ``rpc`` (errors, RPC metrics, one method an RPC), ``calls`` (whose ``desk`` admits, dispatches,
times and counts it) and ``requests`` (decode, evaluate, encode).
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from losswire_server.launching import RunningServer, launch
from losswire_server.settings import Settings

if TYPE_CHECKING:
    from losswire_server.server import Server

__all__ = ["RunningServer", "Server", "Settings", "__version__", "launch"]

__version__ = version("losswire-server")


def __getattr__(name: str) -> Any:
    # Imported late, because it loads torch: health checks, and programs that launch a server, do not need it.
    if name != "Server":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from losswire_server.server import Server

    return Server
