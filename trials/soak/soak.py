"""A soak: rounds of calls, with restarts and killed clients, and what the processes hold in the quiet after each."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.growth.processes import GIVING_BACK, variables
from trials.soak.growth import CALLER, SERVER, Growth, growths
from trials.soak.plan import Plan
from trials.soak.processes import Caller, Served, calling, victim
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
    "cancelled": {"cancelled"},
}

Tell = Callable[[int, Held, list[Held]], object]  # the round's number, the server's sample and the callers'


@dataclass
class Outcome:
    """What came of a soak.

    Attributes:
        ends: How calls ended, by their kinds.
        problems: All that must not be.
        lives: The samples of each of the server's processes.
        callers: The samples of each caller.
        before: What the server held before the first call.
        after: What the last server held once all callers had left.
    """

    before: Held
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    lives: list[list[Held]] = field(default_factory=lambda: [[]])
    callers: list[list[Held]] = field(default_factory=lambda: [[] for _ in range(CALLERS)])
    after: Held | None = None

    def growths(self) -> list[tuple[str, Growth]]:
        """What each process grew by, with its name."""
        named = [(f"server {number}", life, SERVER) for number, life in enumerate(self.lives, 1)]
        named += [(f"caller {number}", life, CALLER) for number, life in enumerate(self.callers, 1)]
        return [(name, growth) for name, life, bounds in named for growth in growths(life, bounds)]

    def all_problems(self) -> list[str]:
        grown = [
            f"{name}: {growth.name} grew by {growth.grown:.0f}, by more than {growth.bound:.0f}"
            for name, growth in self.growths()
            if growth.is_too_much
        ]
        return self.problems + grown + ([] if self.growths() else ["too few rounds to tell growth"])


def soak(plan: Plan, seed: int, tell: Tell) -> Outcome:
    """Makes calls of all kinds for as long as the plan says."""
    with ExitStack() as servers, variables(GIVING_BACK):
        served = Served(servers)
        outcome = Outcome(held(served.running.pid, served.running.metrics_url))
        with ExitStack() as stack:
            target = served.running.target
            callers = [stack.enter_context(calling(target, seed + number)) for number in range(CALLERS)]
            for number in range(plan.rounds):
                _round(plan, number, served, callers, outcome)
                tell(number, outcome.lives[-1][-1], [life[-1] for life in outcome.callers])
        _end(served, outcome)
    return outcome


def _round(plan: Plan, number: int, served: Served, callers: list[Caller], outcome: Outcome) -> None:
    for caller in callers:
        caller.begin(plan.seconds)
    with victim(served.running.target):
        time.sleep(plan.seconds / 3)
    if number in plan.restarts:
        served.restart(plan.restarts[number])
        outcome.lives.append([])
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
    outcome.lives[-1].append(now)
    for life, caller in zip(outcome.callers, callers, strict=True):
        life.append(held(caller.pid))
    in_use = {name: value for name, value in now.in_use.items() if value and name != LEASES}  # callers keep regions
    outcome.problems += [f"{name} is {value:.0f} in the quiet after a round" for name, value in in_use.items()]
    outcome.problems += [f"{now.faults} calls ended by the server's own fault"] if now.faults else []


def _quiet(served: Served) -> Held:
    """What the server holds once no call is under way."""
    running = served.running
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        now = held(running.pid, running.metrics_url)
        if not any(value for name, value in now.in_use.items() if name != LEASES) or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


def _end(served: Served, outcome: Outcome) -> None:
    """Counts what stays once all callers have left."""
    running, before = served.running, outcome.before
    spare = int(SERVER["descriptors"])
    after = outcome.after = settled(running.pid, running.metrics_url, QUIET_SECONDS, before.descriptors + spare)
    outcome.problems += [f"{name} is {value:.0f} after all callers" for name, value in after.in_use.items() if value]
    if after.regions:
        outcome.problems.append(f"{after.regions} descriptors of regions after all callers")
    if after.descriptors > before.descriptors + spare:
        outcome.problems.append(f"{before.descriptors} descriptors before all callers, {after.descriptors} after")
