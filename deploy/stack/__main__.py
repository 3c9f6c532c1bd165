"""Starts what docker-compose.yml has as processes of this machine, from the same files, and sends a load through it.

These are two servers behind Envoy, a PostgreSQL in which both keep runs, a Prometheus that scrapes them, and Grafana if
the machine has it. The demo trains through Envoy once, and other calls of all kinds go on until Ctrl-C, or for so many
seconds. Run it with ``make stack``.
If one of them ends by itself, all do. The exit status is 1 if something did not start, or ended, or a call failed.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from deploy.stack.compose import ROOT
from deploy.stack.load import KINDS, Done, sending
from deploy.stack.pieces import NotStartedError
from deploy.stack.ports import HOST, Ports
from deploy.stack.running import running
from deploy.stack.watching import watching

DEMO = ROOT / "examples/digits.py"


def main() -> None:
    """Runs the stack until it is told to stop."""
    arguments = parse_arguments()
    console, stop = Console(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last one when its terminal is closed
        signal.signal(number, lambda *_: stop.set())
    try:
        with running(any_free=arguments.any_ports, scrape_interval=arguments.scrape_interval) as (ports, pieces):
            console.print(addresses(ports, has_grafana="Grafana" in pieces))
            console.print(
                "It runs", "until Ctrl-C." if arguments.seconds is None else f"{arguments.seconds:g} seconds."
            )
            kinds = KINDS if arguments.load else {}
            with (
                sending(f"{HOST}:{ports['envoy', 50051][0]}", f"{HOST}:{ports['server', 50051][0]}", kinds) as done,
                watching(pieces, stop) as ended,
            ):
                problems = demo(ports, console, stop) if arguments.load and arguments.demo else []
                stop.wait(arguments.seconds)
    except NotStartedError as error:
        sys.exit(f"stack: {error}")
    if ended:  # it has been said, and what else failed has failed for it
        sys.exit(1)
    if arguments.load:
        console.print(calls(done))
    if problems := problems + [f"{kind}: {error}" for kind, error in done.errors.items()]:
        sys.exit("\n".join(problems))


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="how long, without the demo; until Ctrl-C by default")
    parser.add_argument("--any-ports", action="store_true", help="free ports, not those of docker-compose.yml")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="leave the demo's training out")
    parser.add_argument("--no-load", dest="load", action="store_false", help="call nothing: for calls of your own")
    parser.add_argument("--scrape-interval", help="of Prometheus, as in 1s; by default that of prometheus.yml")
    return parser.parse_args(given)


def demo(ports: Ports, console: Console, stop: threading.Event) -> list[str]:
    """Trains through Envoy, and says what is wrong with the result. It ends, without one, when all shall stop."""
    command = [sys.executable, str(DEMO), "--target", f"{HOST}:{ports['envoy', 50051][0]}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, process_group=0
    ) as process:
        threading.Thread(target=_interrupt, args=(process, stop), daemon=True).start()
        said, errors = process.communicate()
    if stop.is_set():
        return []
    console.print(said, markup=False, highlight=False)
    return [f"demo: {errors[-2000:]}"] if process.returncode else []


def _interrupt(process: "subprocess.Popen[str]", stop: threading.Event) -> None:
    """Ends it and its workers, as Ctrl-C would."""
    stop.wait()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def addresses(ports: Ports, *, has_grafana: bool) -> Table:
    """Where everything is."""
    table = Table(title="The stack", title_justify="left", show_header=False)
    table.add_row("callers, by Envoy", f"Client({HOST + ':' + str(ports['envoy', 50051][0])!r})")
    for number, port in enumerate(ports["server", 9464], 1):
        table.add_row(f"server {number}", f"http://{HOST}:{port}/")
    table.add_row("Prometheus", f"http://{HOST}:{ports['prometheus', 9090][0]}/")
    table.add_row("Envoy's statistics", f"http://{HOST}:{ports['envoy', 9901][0]}/")
    grafana = f"http://{HOST}:{ports['grafana', 3000][0]}/"
    table.add_row("Grafana", grafana if has_grafana else "not on this machine: docker compose up has it")
    return table


def calls(done: Done) -> Table:
    """How many calls were answered."""
    table = Table("calls", "answered", title="The load", title_justify="left")
    for kind, count in sorted(done.calls.items()):
        table.add_row(kind, f"{count:,}")
    return table


if __name__ == "__main__":
    main()
