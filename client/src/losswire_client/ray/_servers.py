"""Servers on a Ray cluster: each is a process of an actor's, with the GPUs that Ray gives it."""

from types import TracebackType
from typing import Any, Self

import ray
from ray.util import get_node_ip_address

from losswire_client._errors import invalid_argument, shown
from losswire_client.ray._errors import own_errors
from losswire_client.ray._process import ServerProcess

START_SECONDS = 300.0  # kernels for a GPU are compiled at the start
STOP_SECONDS = 30.0
SHARED = ("postgresql:", "postgresql+", "postgres:")  # stores of runs that several servers share


class _Server:
    """A server as long as its actor: ``ServerActor.options(num_gpus=1).remote(runs="postgresql://...")``.

    The server listens on a free port of the node's address, and uses the GPUs that Ray has given the actor; without
    any, the CPU. It ends with the actor, also if that is killed. The package losswire-server must be on the node.

    Args:
        settings: Settings of ``losswire-server`` by their names, as in ``max_message_bytes=2**26``. On an address that
            other machines reach it asks for TLS and for tokens, or for ``insecure=True``: see its documentation.
    """

    def __init__(self, **settings: Any) -> None:
        self._process = ServerProcess(default_settings(len(ray.get_gpu_ids())) | settings)

    def target(self) -> str:
        """Where it serves, as `Client` takes it, once it does.

        Raises:
            LosswireError: It cannot serve; the message has what it said.
        """
        target: str = self._process.told(START_SECONDS)["target"]
        return target

    def metrics(self) -> str | None:
        """Where its metrics are, once it serves; None if they are turned off."""
        address: str | None = self._process.told(START_SECONDS)["metrics"]
        return address

    def is_well(self) -> bool:
        """Whether it says that it serves."""
        return self._process.is_well()

    def pid(self) -> int:
        """The process that watches over the server, on the actor's node."""
        return self._process.pid

    def stop(self) -> int:
        """Has the server end its calls, and returns its exit status. The actor stays."""
        return self._process.stop(STOP_SECONDS)


ServerActor = ray.remote(_Server)


class Servers:
    """Servers that run until they are closed, or nobody holds this any more.

    Attributes:
        actors: Their actors.
        targets: Where they serve, as `Client` takes it.
    """

    def __init__(self, actors: list[Any]) -> None:
        self.actors = actors
        with own_errors():
            self.targets: list[str] = ray.get([actor.target.remote() for actor in actors])

    def are_well(self) -> list[bool]:
        """Whether each says that it serves; False for one whose actor is gone."""
        return [_is_well(actor) for actor in self.actors]

    def close(self) -> None:
        """Has all of them end their calls, and ends their actors."""
        stopping = [actor.stop.remote() for actor in self.actors]
        ray.wait(stopping, num_returns=len(stopping), timeout=STOP_SECONDS)
        for actor in self.actors:
            ray.kill(actor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def serve(servers: int = 1, *, num_gpus: float = 1, num_cpus: float = 1, **settings: Any) -> Servers:
    """Runs servers on the cluster, and returns when all of them serve.

        >>> with serve(4, runs="postgresql://host/losswire") as servers, Client(servers.targets) as client:
        ...     evaluate("s3://bucket/val", client.run("val-2026-11"), finish=True)

    Several servers keep the runs of all of them in one PostgreSQL. SQLite is for one server, whose node has the file.
    A server that ends is not started anew: a client goes on with the others.

    Args:
        servers: How many.
        num_gpus: The GPUs of each; 0 to use the CPU.
        num_cpus: The processors that Ray counts for each.
        settings: Settings of each: see `ServerActor`.

    Raises:
        InvalidArgumentError: An argument is wrong.
        LosswireError: A server cannot start; the message has what it said.
    """
    if not isinstance(servers, int) or servers < 1:
        raise invalid_argument("servers", f"expected a number from 1 on, got {shown(servers)}")
    runs = settings.get("runs")
    if servers > 1 and runs is not None and not str(runs).startswith(SHARED):
        raise invalid_argument("runs", "expected a URL of PostgreSQL for several servers: only one server has a file")
    actor = ServerActor.options(num_gpus=num_gpus, num_cpus=num_cpus)
    return Servers([actor.remote(**settings) for _ in range(servers)])


def default_settings(gpus: int) -> dict[str, Any]:
    device = "cpu" if not gpus else "cuda" if gpus == 1 else "all"
    return {"host": get_node_ip_address(), "port": 0, "metrics_port": 0, "device": device}


def _is_well(actor: Any) -> bool:
    try:
        well: bool = ray.get(actor.is_well.remote())
    except ray.exceptions.RayActorError:
        return False
    return well
