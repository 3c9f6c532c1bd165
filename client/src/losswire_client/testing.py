"""Clients for the tests of programs that use this package. Their service runs in the process, without a socket.

    >>> from losswire_client import testing
    >>> with testing.Service() as service, service.client() as client:
    ...     client.cross_entropy([[1.0, 2.0, 3.0]], [2]).loss

The losses, the checks and the errors come from the real server, which the extra ``testing`` installs.
"""

from collections import deque
from collections.abc import Callable
from importlib.metadata import entry_points
from types import TracebackType
from typing import Any, NoReturn, Self

from losswire_client._async_client import AsyncClient
from losswire_client._client import Client
from losswire_client._errors import LosswireError
from losswire_client._install import missing
from losswire_client._wires.connection import Connection
from losswire_client._wires.in_process import NAME, InProcessEndpoint, InProcessWire

__all__ = ["Service"]


class Service:
    """A service in this process for any number of clients. Closing a client does not close it.

    Args:
        settings: Any of ``losswire_server.Settings`` that are not about sockets, as in ``max_message_bytes=4096``.

    Raises:
        ImportError: No server is installed.

    Attributes:
        registry: The ``prometheus_client`` registry of the service's metrics.
    """

    def __init__(self, **settings: Any) -> None:
        self._in_process = _find()(**settings)
        self.registry = self._in_process.registry
        self._failures = deque[LosswireError]()

    def client(self, **options: Any) -> Client:
        """A client of this service, with any options of `Client` that do not say where the server is."""
        return _Client(InProcessWire(self._in_process, self._failures, awaited=False), **options)

    def async_client(self, **options: Any) -> AsyncClient:
        """An `AsyncClient` of this service, with the same options."""
        return _AsyncClient(InProcessWire(self._in_process, self._failures, awaited=True), **options)

    def fail_next(self, *errors: LosswireError) -> None:
        """Has the next calls end with these errors, one each, as in ``UnavailableError("on its way")``.

        A client retries as usual: give one error for each attempt, or give the client ``retry=None``.
        """
        self._failures.extend(errors)

    def close(self) -> None:
        self._in_process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _InProcess:
    """Overrides the methods of clients that have to do with connections."""

    _wire: InProcessWire

    @property
    def _public_name(self) -> str:
        return type(self).__name__.removeprefix("_")

    def __getstate__(self) -> NoReturn:
        raise LosswireError(f"a client of {NAME} cannot leave the process, and so cannot be pickled")

    def _new_endpoint(self, *_: object) -> InProcessEndpoint:
        return InProcessEndpoint()

    def _new_connection(self) -> Connection:
        return Connection(InProcessEndpoint(), lambda _: self._wire)


class _Client(_InProcess, Client):
    def __init__(self, wire: InProcessWire, **options: Any) -> None:
        self._wire = wire
        super().__init__(NAME, **options)


class _AsyncClient(_InProcess, AsyncClient):
    def __init__(self, wire: InProcessWire, **options: Any) -> None:
        self._wire = wire
        super().__init__(NAME, **options)


def _find() -> Callable[..., Any]:
    """The server's part. This is the package's only tie to the server."""
    found = entry_points(group="losswire.in_process")
    if not found:
        raise ImportError(missing("losswire_client.testing needs a server", "testing"))
    in_process: Callable[..., Any] = next(iter(found)).load()
    return in_process
