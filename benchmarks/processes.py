"""Measures one server process beside several on one port. Run: ``make bench-processes``.

32 callers have a call of 32 x 10 each in flight, over a connection each. They are all of h2load (Debian's
nghttp2-client), since callers in Python would take more of the cores than the servers. Servers take turns in one run.
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from losswire import v1
from losswire.tensors import encode
from losswire_server import RunningServer, launch

RNG = np.random.default_rng(0)
TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = ("processes", "calls/s", "CPU, us/call", "its cores", "callers' cores", "others' cores")
HEADINGS = (*COLUMNS, "times one", "least", "most")


class Turn(NamedTuple):
    """What a server did in a turn.

    Attributes:
        rate: Calls a second.
        cpu: Seconds of processor time for a call, of all its processes.
        cores: Of the machine that it kept busy.
        callers: Cores that the callers kept busy.
        others: Cores that other programs kept busy.
    """

    rate: float
    cpu: float
    cores: float
    callers: float
    others: float


def main() -> None:
    arguments = parse_arguments()
    turns, calls = (2, 500) if arguments.smoke else (arguments.turns, arguments.calls)
    h2load = shutil.which("h2load")
    if h2load is None:
        sys.exit("needs h2load: nghttp2-client of Debian's")
    counts = sorted({1, arguments.processes})
    with ExitStack() as stack:
        file = stack.enter_context(NamedTemporaryFile())
        file.write(message())
        file.flush()
        load = [h2load, "-c", str(arguments.in_flight), "-m", "1", "-n", str(calls), "-d", file.name]
        servers = [stack.enter_context(launch(processes=n, access_log_per_second=0)) for n in counts]
        for server in servers:
            measure(load, server, calls)
        measured = [[measure(load, server, calls) for server in servers] for _ in range(turns)]
    alone = [turn for turn in measured if max(each.others for each in turn) <= arguments.others]
    console = Console(width=130)
    console.print(table(counts, alone, arguments.in_flight) if alone else "other programs were busy in all turns")
    console.print(
        f"{len(alone)} of {turns} turns, in which other programs kept at most {arguments.others:g} cores busy"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="of the server that is compared with one (2)")
    parser.add_argument("--in-flight", type=int, default=32, help="callers, each with a call at a time (32)")
    parser.add_argument("--turns", type=int, default=9, help="of each server (9)")
    parser.add_argument("--calls", type=int, default=20_000, help="in a turn (20000)")
    parser.add_argument("--others", type=float, default=os.cpu_count(), help="of a turn that counts: see the last line")
    parser.add_argument("--smoke", action="store_true", help="little of all: shows that it works, no more")
    return parser.parse_args()


def message() -> bytes:
    """A request of 32 x 10 as it lies in a gRPC call: not compressed, and its length."""
    request = v1.EvaluateRequest(spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN))
    request.spec.cross_entropy.SetInParent()
    encode(RNG.standard_normal((32, 10), np.float32), request.input, "input")
    encode(RNG.integers(0, 10, 32), request.target, "target")
    data = request.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


def measure(load: list[str], server: RunningServer, calls: int) -> Turn:
    """One turn of a server.

    Raises:
        RuntimeError: A call failed.
    """
    url = f"http://{server.target}/losswire.v1.LossService/Evaluate"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    before = answered(server)
    ours, theirs, start = cpu_seconds(server.pid), callers_seconds(), time.perf_counter()
    all_busy = busy_seconds()
    said = subprocess.run([*load, *headers, url], capture_output=True, text=True, check=True).stdout
    seconds, all_busy = time.perf_counter() - start, busy_seconds() - all_busy
    ours, theirs = cpu_seconds(server.pid) - ours, callers_seconds() - theirs
    others = max(0.0, all_busy - ours - theirs)
    if answered(server) - before != calls:  # h2load does not know the status of gRPC
        raise RuntimeError(f"calls failed:\n{said}")
    rate = re.search(r"^finished in .*, ([\d.]+) req/s", said, re.MULTILINE)
    if rate is None:
        raise RuntimeError(f"h2load told no rate:\n{said}")
    return Turn(float(rate[1]), ours / calls, ours / seconds, theirs / seconds, others / seconds)


def answered(server: RunningServer) -> float:
    """Evaluations that ended well."""
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    found = re.search(r'^grpc_server_handled_total{grpc_code="OK",grpc_method="Evaluate",.*} (.*)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children that live."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:13])) / TICKS + sum(cpu_seconds(int(child)) for child in children)


def callers_seconds() -> float:
    """Processor time of all callers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds() -> float:
    """Processor time of all programs of the machine."""
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(others[:3])) / TICKS


def table(counts: list[int], turns: list[list[Turn]], in_flight: int) -> Table:
    shown = Table(*HEADINGS, title=f"32 x 10 float32, {in_flight} in flight, medians of turns", title_justify="left")
    for number, count in enumerate(counts):
        columns = zip(*(turn[number] for turn in turns), strict=True)
        rate, cpu, *cores = (statistics.median(column) for column in columns)
        ratios = sorted(turn[number].rate / turn[0].rate for turn in turns)
        times = (f"{ratio:.2f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1]))
        shown.add_row(str(count), f"{rate:,.0f}", f"{cpu * 1e6:.0f}", *(f"{each:.2f}" for each in cores), *times)
    return shown


if __name__ == "__main__":
    main()
