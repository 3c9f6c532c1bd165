"""All pieces of the stack together."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from deploy.stack import pieces
from deploy.stack.compose import services
from deploy.stack.database import postgres
from deploy.stack.ports import Ports, choose


class Running(NamedTuple):
    """What runs.

    Attributes:
        pieces: The ids of the processes, by name. Grafana is among them if the machine has it.
    """

    ports: Ports
    pieces: dict[str, int]


@contextmanager
def running(*, any_free: bool = False, scrape_interval: str | None = None) -> Iterator[Running]:
    """The pieces, for the length of the block."""
    told = services()
    ports = choose(told, any_free=any_free)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="losswire-stack-")))
        folders = {name: folder / name for name in told}
        for each in folders.values():
            each.mkdir()
        Path(folder).chmod(0o711)  # PostgreSQL is another user if this one is root
        database = stack.enter_context(postgres(folders["postgres"]))
        begun: dict[str, int | None] = {"PostgreSQL": database.pid}
        servers = stack.enter_context(pieces.servers(told["server"], ports, database.url))
        begun |= {f"server {number}": pid for number, pid in enumerate(servers, 1)}
        begun["Envoy"] = stack.enter_context(pieces.envoy(told["envoy"], ports, folders["envoy"]))
        begun["Prometheus"] = stack.enter_context(
            pieces.prometheus(told["prometheus"], ports, folders["prometheus"], scrape_interval)
        )
        begun["Grafana"] = stack.enter_context(pieces.grafana(told["grafana"], ports, folders["grafana"]))
        yield Running(ports, {name: pid for name, pid in begun.items() if pid is not None})
