"""The client that evaluates a loss: the given client, or else the client that the process shares."""

import threading
from typing import Any

from losswire_client import Client
from losswire_client._errors import invalid_argument

_default: Client | None = None
_default_lock = threading.Lock()


def set_default_client(client: Client | None) -> None:
    """Sets the client of all losses and metrics in this process that were given none.

    Without this call, the first such loss or metric that is evaluated makes a client without arguments. That client
    goes by ``LOSSWIRE_TARGET`` and the other variables of the environment.

    Args:
        client: The client, which the caller has to close. None goes back to the environment.

    Raises:
        InvalidArgumentError: The argument is neither a `Client` nor None.
    """
    global _default
    with _default_lock:
        _default = _checked(client)


def client_or_default(client: Client | None) -> Client:
    """The client, or the one that the process shares."""
    return _checked(client) or _default_client()


class ClientHandle:
    """The client of a module or a metric. Copies of the owner share it, and a pickled owner contains it: see `Client`.

    Attributes:
        client: None for the default client of the process where the owner is.
    """

    def __init__(self, client: Client | None) -> None:
        self.client = _checked(client)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ClientHandle":
        return self


def _checked(client: Client | None) -> Client | None:
    if client is not None and not isinstance(client, Client):
        raise invalid_argument("client", f"expected a Client or None, got a {type(client).__name__}")
    return client


def _default_client() -> Client:
    global _default
    with _default_lock:
        if _default is None:
            _default = Client()
        return _default
