"""Ports of this machine in place of those of containers."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress

from deploy.stack.compose import Service

HOST = "127.0.0.1"
INSIDE = {  # the ports at which each service listens, also those that are not published
    "server": (50051, 9464),
    "postgres": (),  # by a socket in its folder
    "envoy": (50051, 9901, 9902),
    "prometheus": (9090,),
    "grafana": (3000,),
}
Ports = dict[tuple[str, int], list[int]]  # by service and port of its containers: a port for each container


def choose(services: Mapping[str, Service], *, any_free: bool = False) -> Ports:
    """The published ports where they are free, else any."""
    ports: Ports = {}
    with ExitStack() as held:  # until all are chosen, so that none is chosen twice
        for name, service in services.items():
            for inside in INSIDE[name]:
                wanted = () if any_free else service.published.get(inside, ())
                ports[name, inside] = [_take(wanted, held) for _ in range(service.replicas)]
    return ports


def _take(wanted: Iterable[int], held: ExitStack) -> int:
    for port in (*wanted, 0):
        with suppress(OSError):
            listener = held.enter_context(socket.create_server((HOST, port)))
            return int(listener.getsockname()[1])
    raise OSError("this machine has no free port")
