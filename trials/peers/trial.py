"""One attack after the other, each beside the well-behaved caller, and what came of them."""

import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from typing import IO, Any, NamedTuple, cast
from urllib.parse import urlsplit

from benchmarks.contestants import ROOT
from losswire_server import RunningServer, launch
from trials.peers.attack import Attack, Effort, Place
from trials.watching import Held, forget_peak, peak, settled

SETTLE_SECONDS = 30.0  # after which nothing of an attack may be in use
SPARE_DESCRIPTORS = 16  # of connections that are about to close
LONGEST_SECONDS = 10.0  # that a call of the well-behaved caller may take: by then most callers have given up
CALM_SECONDS = 3.0  # without an attack, to compare with


class Ended(NamedTuple):
    """What came of an attack.

    Attributes:
        name: Its name.
        tries: How many it made.
        seconds: Of the well-behaved caller's calls.
        problems: All that must not be.
        lines: That gRPC's core wrote to the server's standard error.
        peak: The most bytes that the server had in memory during the attack, above those before it.
        after: What the server held once it had settled.
    """

    name: str
    tries: int
    seconds: list[float]
    problems: list[str]
    lines: int
    peak: int
    after: Held | None


class Beside:
    """The well-behaved caller's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def lap(self) -> dict[str, Any]:
        """What came of its calls since the last lap."""
        cast(IO[str], self._process.stdin).write("lap\n")
        cast(IO[str], self._process.stdin).flush()
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise RuntimeError("the caller's process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run(attacks: Sequence[Attack], seconds: float, share: float, seed: int) -> Iterator[Ended]:
    """Runs attacks on a server of their own, and gives what came of each as soon as it is over.

    The first is no attack, but what the well-behaved caller takes alone.
    """
    log = io.StringIO()
    with redirect_stderr(log), launch(log_level="error") as server, _beside(server) as beside:
        beside.lap()
        for attack in (calm, *attacks):
            effort = Effort(CALM_SECONDS if attack is calm else seconds, share, seed)
            ended = _attack(attack, effort, server, beside)
            own, of_core = _lines(log)
            complaints = [f"{len(own)} errors in the log, such as {own[0][:300]}"] if own else []
            yield ended._replace(problems=[*ended.problems, *complaints], lines=len(of_core))
            if not _is_alive(server.pid):
                return


def calm(place: Place, effort: Effort) -> int:  # noqa: ARG001 - an attack's arguments
    """No attack."""
    time.sleep(effort.remaining)
    return 0


def _attack(attack: Attack, effort: Effort, server: RunningServer, beside: Beside) -> Ended:
    place, problems, tries = _place(server), [], 0
    before = settled(server.pid, server.metrics_url, SETTLE_SECONDS)
    beside.lap()
    forget_peak(server.pid)
    top = peak(server.pid)
    try:
        tries = attack(place, effort)
    except Exception:  # noqa: BLE001 - the others go on
        problems.append(f"the attack itself failed: {traceback.format_exc(limit=-2)}")
    if not _is_alive(server.pid):
        return Ended(attack.__name__, tries, [], ["the server is gone"], 0, 0, None)
    grown = peak(server.pid) - top
    after = settled(server.pid, server.metrics_url, SETTLE_SECONDS, before.descriptors + SPARE_DESCRIPTORS)
    lap = beside.lap()
    problems += _problems(before, after, lap)
    return Ended(attack.__name__, tries, lap["seconds"], problems, 0, grown, after)


def _problems(before: Held, after: Held, lap: dict[str, Any]) -> list[str]:
    problems = [f"a wrong answer: {text}" for text in lap["wrong"][:3]]
    problems += [f"{len(lap['failed'])} calls failed, such as {lap['failed'][0]}"] if lap["failed"] else []
    problems += [] if lap["seconds"] else ["no call of the well-behaved caller was answered"]
    if max(lap["seconds"], default=0.0) > LONGEST_SECONDS:
        problems.append(f"a call of the well-behaved caller took {max(lap['seconds']):.1f} s")
    problems += [f"{name} is {value:.0f} once all is over" for name, value in after.in_use.items() if value]
    if after.descriptors > before.descriptors + SPARE_DESCRIPTORS:
        problems.append(f"{before.descriptors} descriptors before, {after.descriptors} after")
    if after.faults > before.faults:
        problems.append(f"{after.faults - before.faults} calls ended by the server's own fault")
    return problems


def _lines(log: io.StringIO) -> tuple[list[str], list[str]]:
    """The errors that the server has logged since the last time, and the lines of gRPC's core beside its log."""
    lines = [line for line in log.getvalue().splitlines() if line.strip()]
    log.seek(0)
    log.truncate()
    return [line for line in lines if line.startswith("{")], [line for line in lines if not line.startswith("{")]


@contextmanager
def _beside(server: RunningServer) -> Iterator[Beside]:
    command = [sys.executable, "-m", "trials.peers.caller", server.target]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Beside(process)
        finally:
            process.kill()


def _place(server: RunningServer) -> Place:
    host, _, port = server.target.rpartition(":")
    return Place(host, int(port), cast(int, urlsplit(server.metrics_url).port))


def _is_alive(pid: int) -> bool:
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    return False
