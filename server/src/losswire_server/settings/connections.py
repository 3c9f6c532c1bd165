"""How many connections there may be, and how long the server waits for its callers."""

from typing import Annotated

from pydantic import Field

from losswire_server.settings.types import Group, Rate, Seconds, Whole

Some = Annotated[Seconds, Field(gt=0)]


class Connections(Group):
    """How many connections there may be, and how long the server waits for its callers."""

    max_connections: Whole = Field(4096, ge=1, lt=2**31)
    """The most connections; more are closed at once. Each takes one of the files that the process may open."""

    max_connection_calls: Whole = Field(128, ge=1, lt=2**31)
    """The most calls under way on one connection; more wait in the caller's gRPC library. As many calls that were left
    at once may lie in gRPC's queue before calls of others."""

    max_connection_resets: Rate = 500
    """The most calls that one connection may leave in a second before they are answered, on average over two; 0 for any
    number. A connection that leaves more is ended."""

    send_seconds: Some = 60.0
    """A message must arrive, and an answer be read, in this time; else its caller is cut off."""

    idle_seconds: Some = 300.0
    """A stream's next message must arrive in this time. A connection without calls is closed after as long."""

    keepalive_seconds: Some = 60.0
    """A connection that is silent for so long is asked whether its caller is still there."""
