"""A soak: rounds of calls, with restarts and killed clients, and what the processes hold in the quiet after each."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.growth.processes import GIVING_BACK, variables
from trials.soak.growth import CALLER, SERVER, Growth, Life, growths
from trials.soak.plan import Plan
from trials.soak.processes import Caller, Served, calling, victim
from trials.soak.ways import Way, ways
from trials.watching import Held, held, settled

CALLERS = 2
QUIET_SECONDS = 30.0  # after which nothing of a round may be in use
LEASES = "losswire_shared_memory_bytes"
# A restart costs calls that do not retry their answer: those of stubs, and those whose deadline is too soon.
EXPECTED = {
    "late": {"DeadlineExceededError", "CallCancelledError", "UnavailableError"},
    "wrong": {"InvalidArgumentError"},
    "bytes": {"INVALID_ARGUMENT", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "CANCELLED"},
    "lease": {"UNAVAILABLE", "CANCELLED"},
    "head": {"HeadNotFoundError"},  # its server has gone since it was registered
    "cancelled": {"cancelled"},
}

Tell = Callable[[int, Held, list[Held]], object]  # the round's number, the server's sample and the callers'


@dataclass
class Outcome:
    """What came of a soak.

    Attributes:
        ends: How calls ended, by their kinds.
        problems: All that must not be.
        servers: The lives of all servers.
        callers: The lives of all callers, another one for each way in which the server was served.
        before: What the server held before the first call; after a change, what that one held.
        after: What the last server held once all callers had left.
    """

    before: Held
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    servers: list[Life] = field(default_factory=list)
    callers: list[Life] = field(default_factory=list)
    after: Held | None = None

    def begin_server(self, way: Way) -> None:
        """Another server, which is served in that way."""
        bounds = {name: way.processes * bound for name, bound in SERVER.items()}
        self.servers.append(Life(f"server {len(self.servers) + 1}, {way.name}", bounds, []))

    def begin_callers(self, way: str) -> None:
        """The callers call a server that is served in that way."""
        self.callers += [Life(f"caller {number + 1}, {way}", CALLER, []) for number in range(CALLERS)]

    def growths(self) -> list[tuple[str, Growth]]:
        """What each process grew by, with its name."""
        lives = [*self.servers, *self.callers]
        return [(life.name, growth) for life in lives for growth in growths(life.samples, life.bounds)]

    def all_problems(self) -> list[str]:
        grown = [
            f"{name}: {growth.name} grew by {growth.grown:.0f}, by more than {growth.bound:.0f}"
            for name, growth in self.growths()
            if growth.is_too_much
        ]
        return self.problems + grown + ([] if self.growths() else ["too few rounds to tell growth"])


def soak(plan: Plan, seed: int, tell: Tell) -> Outcome:
    """Makes calls of all kinds for as long as the plan says."""
    with TemporaryDirectory(prefix="losswire-soak-") as folder, ExitStack() as servers, variables(GIVING_BACK):
        served = Served(servers, ways(Path(folder)))
        outcome = Outcome(before=_held(served))
        _begin(served, outcome)
        with ExitStack() as stack:
            callers = [stack.enter_context(calling(seed + number)) for number in range(CALLERS)]
            for number in range(plan.rounds):
                if number in plan.changes:
                    _change(served, outcome)
                _round(plan, number, served, callers, outcome)
                tell(number, outcome.servers[-1].samples[-1], [life.samples[-1] for life in outcome.callers[-CALLERS:]])
        _end(served, outcome)
    return outcome


def _change(served: Served, outcome: Outcome) -> None:
    served.change()
    outcome.before = _held(served)
    _begin(served, outcome)


def _begin(served: Served, outcome: Outcome) -> None:
    outcome.begin_server(served.way)
    outcome.begin_callers(served.way.name)


def _held(served: Served) -> Held:
    return held(served.running.pid, served.running.metrics_url)


def _round(plan: Plan, number: int, served: Served, callers: list[Caller], outcome: Outcome) -> None:
    for caller in callers:
        caller.begin(plan.seconds, served.reach)
    with victim(served.reach):
        time.sleep(plan.seconds / 3)
    if number in plan.restarts:
        served.restart(plan.restarts[number])
        outcome.begin_server(served.way)
    for caller in callers:
        _count(caller.answer(), outcome)
    _sample(served, callers, outcome)


def _count(answer: dict[str, dict[str, int]], outcome: Outcome) -> None:
    outcome.ends.update(answer["ends"])
    outcome.problems += [f"a wrong answer: {text}" for text in answer["wrong"]]
    for kind_and_end, count in answer["ends"].items():
        kind, _, end = kind_and_end.partition(": ")
        if end not in {"answered", *EXPECTED.get(kind, ())}:
            outcome.problems.append(f"{count} calls of the kind {kind} ended in {end}")


def _sample(served: Served, callers: list[Caller], outcome: Outcome) -> None:
    now = _quiet(served)
    outcome.servers[-1].samples.append(now)
    for life, caller in zip(outcome.callers[-CALLERS:], callers, strict=True):
        life.samples.append(held(caller.pid))
    in_use = {name: value for name, value in now.in_use.items() if value and name != LEASES}  # callers keep regions
    outcome.problems += [f"{name} is {value:.0f} in the quiet after a round" for name, value in in_use.items()]
    outcome.problems += [f"{now.faults} calls ended by the server's own fault"] if now.faults else []


def _quiet(served: Served) -> Held:
    """What the server holds once no call is under way."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        now = _held(served)
        if not any(value for name, value in now.in_use.items() if name != LEASES) or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


def _end(served: Served, outcome: Outcome) -> None:
    """Counts what stays once all callers have left."""
    running, before = served.running, outcome.before
    spare = int(SERVER["descriptors"]) * served.way.processes
    after = outcome.after = settled(running.pid, running.metrics_url, QUIET_SECONDS, before.descriptors + spare)
    outcome.problems += [f"{name} is {value:.0f} after all callers" for name, value in after.in_use.items() if value]
    if after.regions:
        outcome.problems.append(f"{after.regions} descriptors of regions after all callers")
    if after.descriptors > before.descriptors + spare:
        outcome.problems.append(f"{before.descriptors} descriptors before all callers, {after.descriptors} after")
