"""Two network namespaces and a link of some rate between them, which Linux allows root alone."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

SERVER_ADDRESS, CALLER_ADDRESS = "10.213.77.1", "10.213.77.2"
# A burst must hold what the kernel gives a link at once, up to 64 KiB a packet, and a tick's worth of the rate.
BURST_BYTES, QUEUE_SECONDS = 2**20, 0.05


@dataclass(frozen=True)
class Side:
    """One end of a link.

    Attributes:
        namespace: Its network namespace.
        device: Its end of the pair.
        address: Where it can be reached.
    """

    namespace: str
    device: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What comes before a command that runs there."""
        return ["ip", "netns", "exec", self.namespace]


@contextmanager
def link(name: str, gigabits: float) -> Iterator[tuple[Side, Side]]:
    """The server's side and the caller's, for the length of a ``with`` block.

    Args:
        name: Up to 12 characters, which no other namespace's name begins with.
        gigabits: A second, in each direction.

    Raises:
        PermissionError: The system does not allow it; the message says what it said.
    """
    server = Side(f"{name}-s", f"{name}-s", SERVER_ADDRESS)
    caller = Side(f"{name}-c", f"{name}-c", CALLER_ADDRESS)
    with ExitStack() as made:
        for side in (server, caller):
            _root("ip", "netns", "add", side.namespace)
            made.callback(_root, "ip", "netns", "delete", side.namespace)  # and the pair goes with it
        _root("ip", "link", "add", server.device, "netns", server.namespace, "type", "veth",
              "peer", "name", caller.device, "netns", caller.namespace)  # fmt: skip
        for side in (server, caller):
            _set_up(side, gigabits)
        yield server, caller


def _set_up(side: Side, gigabits: float) -> None:
    _root(*side.prefix, "ip", "address", "add", f"{side.address}/30", "dev", side.device)
    for device in ("lo", side.device):
        _root(*side.prefix, "ip", "link", "set", device, "up")
    rate = ("rate", f"{gigabits}gbit", "burst", str(BURST_BYTES), "latency", f"{QUEUE_SECONDS * 1e3:.0f}ms")
    _root(*side.prefix, "tc", "qdisc", "add", "dev", side.device, "root", "tbf", *rate)


def _root(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise PermissionError(f"there is no {command[0]}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(f"{' '.join(command)}: {done.stderr.strip()}")
