"""The rule of growth, the plan of a soak, and the cases whose answers callers check."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from losswire_client import Client
from losswire_server import launch
from tests.helpers import serving
from trials.cases import SMALL, cases, cases_of_models
from trials.soak.command import Command
from trials.soak.growth import SERVER, growths
from trials.soak.kinds import Kinds
from trials.soak.plan import Plan
from trials.soak.ways import ways
from trials.twin.check import WrongAnswerError
from trials.watching import Held, held, settled

MB = 10**6


def life(*memory_mb: float, descriptors: int = 20) -> list[Held]:
    return [Held(int(mb * MB), descriptors, 0, 10, {}, 0) for mb in memory_mb]


def grown(samples: list[Held]) -> set[str]:
    return {growth.name for growth in growths(samples, SERVER) if growth.is_too_much}


def test_warm_up_and_noise_are_no_growth():
    assert grown(life(100, 300, *[320, 322, 319, 340, 320, 321, 320, 322])) == set()


def test_steady_growth_is_found():
    assert grown(life(*range(300, 340))) == {"memory"}


def test_descriptors_that_stay_are_found():
    samples = [sample._replace(descriptors=20 + number) for number, sample in enumerate(life(*[300] * 20))]
    assert grown(samples) == {"descriptors"}


def test_short_life_tells_nothing():
    assert growths(life(300, 400, 500, 600, 700, 800), SERVER) == []


@pytest.mark.parametrize(("minutes", "rounds", "restarts"), [(1, 12, 2), (10, 60, 4), (0.1, 10, 2)])
def test_plan_restarts_a_server_by_both_signals(minutes, rounds, restarts):
    plan = Plan.of(minutes)
    assert plan.rounds == rounds
    assert len(plan.restarts) == restarts
    assert set(plan.restarts.values()) == {signal.SIGTERM, signal.SIGKILL}
    assert max(plan.restarts) < plan.rounds - 4
    (change,) = plan.changes
    assert 2 < change < plan.rounds - 4


@pytest.mark.slow
@pytest.mark.parametrize("way", [0, 1], ids=["plain", "secured"])
def test_every_kind_of_call_ends_as_it_may(way, tmp_path):
    found = ways(tmp_path)[way]
    settings = {name: value for name, value in found.settings.items() if name != "processes"}
    kinds = Kinds(seed=0)
    with serving(**settings) as server:
        kinds.connect(found.reach(server.port))
        try:
            ends = {name: call() for name, call in kinds.kinds.items()}
            assert kinds.command() == ["answered"]
        finally:
            kinds.close()
    assert set(ends["map"] + ends["pack"] + ends["async"] + ends["torch"] + ends["connection"]) == {"answered"}
    assert ends["models"] == ends["head"] == ["answered"]
    assert ends["wrong"] == ["InvalidArgumentError"]


def test_wrong_number_of_the_command_is_noticed():
    command = Command(0)
    try:
        with pytest.raises(WrongAnswerError, match="row_count"):
            command.case.check_numbers({"row_count": 299})
    finally:
        command.close()


@pytest.mark.slow
def test_processes_of_a_server_are_counted_together():
    with launch(processes=2) as server:
        together = held(server.pid, server.metrics_url)
        alone = held(server.pid)
    assert together.memory > 3 * alone.memory
    assert together.threads > 2 * alone.threads


@pytest.mark.parametrize("case", [*cases(5, SMALL, 1), *cases_of_models(0, 12)], ids=lambda case: case.loss)
def test_wrong_answer_is_noticed(client: Client, case):
    arrays, options = case.arguments
    result = getattr(client, case.loss)(*arrays, **options)
    case.check(result)
    with pytest.raises(WrongAnswerError, match="loss"):
        case.check(replace(result, loss=np.asarray(result.loss) + 1, loss_sum=result.loss_sum + 1))


@pytest.mark.slow
def test_what_a_server_holds_is_read(server):
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    now = settled(os.getpid(), url, 1)  # in vain: the callers of other tests keep regions
    assert now.memory > 10 * MB
    assert now.descriptors > 3
    assert now.threads > 1
    assert now.in_use["losswire_inflight_bytes"] == 0
    assert held(os.getpid()).in_use == {}
