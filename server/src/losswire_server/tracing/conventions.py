"""The names of OpenTelemetry's stable conventions for RPCs, version 1.45.0.

The package opentelemetry-semantic-conventions still has those of 1.44.0, where some of these names were others.
"""

import grpc

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

SYSTEM_NAME = "rpc.system.name"
METHOD = "rpc.method"
STATUS_CODE = "rpc.status_code"
ERROR_TYPE = "error.type"
PEER_ADDRESS, PEER_PORT = "network.peer.address", "network.peer.port"

SERVER_DURATION = "rpc.server.call.duration"
SERVER_DURATION_TEXT = "Measures the duration of an incoming Remote Procedure Call (RPC)."
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# Of a server. Other codes are a caller's fault, or the caller's wish.
ERRORS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
