"""The server of Losswire: ``losswire-server``, or :class:`Server` in a program of your own.

A call goes through ``edge`` (errors and RPC metrics), ``service`` (one method an RPC), ``evaluator`` (admission and the
executor) and ``evaluation`` (decode, evaluate, encode).
"""

from importlib.metadata import version

from losswire_server.launch import RunningServer, launch
from losswire_server.server import Server
from losswire_server.settings import Settings

__all__ = ["RunningServer", "Server", "Settings", "__version__", "launch"]

__version__ = version("losswire-server")
