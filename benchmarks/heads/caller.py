"""A caller in a process of its own: times ways in turns, and counts the bytes that each of them sends and gets.

Run as ``python -m benchmarks.heads.caller JOB``, where the job is JSON. It prints JSON.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F

from benchmarks.batch import Answer, Run, as_array, as_tensor
from benchmarks.contestants import ROOT, SETTLE_SECONDS
from benchmarks.heads.case import PYTORCH_TOLERANCE, Case
from benchmarks.heads.ways import torch_run
from losswire_client import Client, Head

LOCAL = ("F.linear_cross_entropy", "with options", "products at the caller")
TRANSPORTS = ("stream", "shared_memory")
WARM_UP_RUNS = 1


class Measured(NamedTuple):
    """Medians of a way: seconds, and bytes in both directions, headers of packets among them."""

    seconds: float
    wire_bytes: int


def measure(
    target: str,
    case: Case,
    runs: int,
    *,
    prefix: Sequence[str] = (),
    local: bool,
    transports: Sequence[str] = TRANSPORTS,
) -> dict[str, Measured]:
    """What a caller measures that runs by a command with this before it, in process too if it is to."""
    job = json.dumps([target, asdict(case), runs, local, list(transports)])
    command = [*prefix, sys.executable, "-m", "benchmarks.heads.caller", job]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {name: Measured(*numbers) for name, numbers in json.loads(done.stdout).items()}


def measured(target: str, case: Case, runs: int, local: bool, transports: list[str]) -> dict[str, Measured]:
    is_loopback = target.startswith("127.")
    with ExitStack() as stack:
        ways = dict(_local(case)) if local else {}
        for transport in transports:
            ways |= stack.enter_context(_served(target, case, transport))
        _hold(case, ways)
        turns = [
            {name: _timed(run, is_loopback=is_loopback) for name, run in ways.items()}
            for _ in range(WARM_UP_RUNS + runs)
        ]
    return {name: _median([turn[name] for turn in turns[WARM_UP_RUNS:]]) for name in ways}


def _local(case: Case) -> Iterator[tuple[str, Run]]:
    functions = F.linear_cross_entropy, partial(F.linear_cross_entropy, options=LinearCrossEntropyOptions())
    yield from zip(LOCAL, (torch_run(case, function) for function in functions), strict=False)
    states, weight = case.states(), case.weight()
    logits = torch.empty(case.rows, case.classes, dtype=states.dtype)

    def products() -> Answer:
        """The logits that a caller sends, and the way back from their gradient."""
        torch.mm(states, weight.t(), out=logits)
        return Answer(torch.nan, logits @ weight if case.grad else None)

    yield LOCAL[-1], products


@contextmanager
def _served(target: str, case: Case, transport: str) -> Iterator[dict[str, Run]]:
    head = Head(as_array(case.weight()))
    states, target_classes = as_array(case.states()), case.target().numpy()
    logits = as_array(case.states() @ case.weight().t())
    with Client(target, transport=transport) as client:
        client.register_head(head)
        digest = head.digest
        yield {
            f"logits, {transport}": lambda: _answer(client.cross_entropy(logits, target_classes, grad=case.grad)),
            f"hidden states, {transport}": lambda: _answer(
                client.linear_cross_entropy(states, digest, target_classes, grad=case.grad)
            ),
        }


def _answer(result: Any) -> Answer:
    return Answer(result.loss, None if result.grad is None else as_tensor(result.grad))


def _hold(case: Case, ways: dict[str, Run]) -> None:
    """Checks each way that gives a loss; the gradients of the ways by hidden states are checked by rows."""
    for name, run in ways.items():
        answer = run()
        if name.startswith("hidden"):
            case.check(answer)
        elif name != LOCAL[-1]:
            case.check_loss(answer, PYTORCH_TOLERANCE if name in LOCAL else None)


def _timed(run: Run, *, is_loopback: bool) -> Measured:
    time.sleep(SETTLE_SECONDS)
    before, start = _wire_bytes(is_loopback=is_loopback), time.perf_counter()
    answer = run()
    seconds = time.perf_counter() - start
    del answer  # frees a gradient, outside of the time
    return Measured(seconds, _wire_bytes(is_loopback=is_loopback) - before)


def _wire_bytes(*, is_loopback: bool) -> int:
    """Bytes that this namespace sent and got; over loopback those that were sent, by everybody."""
    total = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, numbers = line.split(":")
        received, sent = int(numbers.split()[0]), int(numbers.split()[8])
        if is_loopback == (name.strip() == "lo"):
            total += sent if is_loopback else received + sent
    return total


def _median(turns: list[Measured]) -> Measured:
    """Bytes are the least: others may use loopback too."""
    return Measured(statistics.median(turn.seconds for turn in turns), min(turn.wire_bytes for turn in turns))


def main() -> None:
    target, case, *others = json.loads(sys.argv[1])
    print(json.dumps(measured(target, Case(**case), *others)))


if __name__ == "__main__":
    main()
