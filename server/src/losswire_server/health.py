"""``python -m losswire_server.health`` exits with 0 if the server says that it serves: for containers' checks."""

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire_server.settings import Settings


def main() -> None:
    """Asks the server of this machine, on the port of the settings."""
    with grpc.insecure_channel(f"127.0.0.1:{Settings().port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError as error:
            sys.exit(f"no answer: {error}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit("not serving")


if __name__ == "__main__":
    main()
