"""``python -m losswire_server.health`` exits with 0 if the server says that it serves: for containers' checks."""

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire_server.process.listening import Address
from losswire_server.settings.reading import WrongSettingsError, read_settings

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach a server that listens on all interfaces


def main() -> None:
    """Asks the server on this machine, at the address in the settings."""
    try:
        settings = read_settings([])
    except WrongSettingsError as error:
        sys.exit(str(error))
    host = settings.host.strip("[]")
    with grpc.insecure_channel(str(Address(LOOPBACK.get(host, host), settings.port, "host", "port"))) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError as error:
            sys.exit(f"no answer: {error}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit("not serving")


if __name__ == "__main__":
    main()
