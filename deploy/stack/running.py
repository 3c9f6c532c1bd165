"""All pieces of the stack together."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.stack import pieces
from deploy.stack.compose import services
from deploy.stack.ports import Ports, choose


@contextmanager
def running(*, any_free: bool = False, scrape_interval: str | None = None) -> Iterator[tuple[Ports, bool]]:
    """The pieces, for the length of the block: their ports, and whether Grafana is among them."""
    told = services()
    ports = choose(told, any_free=any_free)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="losswire-stack-")))
        folders = {name: folder / name for name in told}
        for each in folders.values():
            each.mkdir()
        stack.enter_context(pieces.servers(told["server"], ports))
        stack.enter_context(pieces.envoy(told["envoy"], ports, folders["envoy"]))
        stack.enter_context(pieces.prometheus(told["prometheus"], ports, folders["prometheus"], scrape_interval))
        yield ports, stack.enter_context(pieces.grafana(told["grafana"], ports, folders["grafana"]))
