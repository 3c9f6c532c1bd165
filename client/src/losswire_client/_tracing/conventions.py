"""The names of OpenTelemetry's stable conventions for RPCs, version 1.45.0.

The package opentelemetry-semantic-conventions still has those of 1.44.0, where some of these names were others.
"""

import re
from functools import lru_cache

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

SYSTEM_NAME = "rpc.system.name"
METHOD = "rpc.method"
STATUS_CODE = "rpc.status_code"
ERROR_TYPE = "error.type"
SERVER_ADDRESS, SERVER_PORT = "server.address", "server.port"

CLIENT_DURATION = "rpc.client.call.duration"
CLIENT_DURATION_TEXT = "Measures the duration of an outgoing Remote Procedure Call (RPC)."
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

HOST_AND_PORT = re.compile(r"(?:dns:(?://[^/]*/)?)?(\[[^\]]+\]|[^:/,]+):([0-9]+)")
SOCKET = re.compile(r"unix:(?://)?(.+)")


@lru_cache(maxsize=64)
def server_attributes(target: str) -> dict[str, str | int]:
    """Where calls go. An address that is not one host, or one socket, is told as a whole."""
    if found := HOST_AND_PORT.fullmatch(target):
        return {SERVER_ADDRESS: found[1].strip("[]"), SERVER_PORT: int(found[2])}
    socket = SOCKET.fullmatch(target)
    return {SERVER_ADDRESS: socket[1] if socket else target}
