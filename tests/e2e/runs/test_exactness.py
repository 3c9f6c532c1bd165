"""A run's numbers have the same bits for every sharding, order, transport and retry: those of fractions."""

import itertools
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from losswire_client import Client, testing
from tests.e2e.runs.rows import Rows, any_rows, rounded, shards
from tests.helpers import serving

NAMES = (f"run-{number}" for number in itertools.count())
MOST_KEYS = 50
MOST_ROWS = 800  # more than a slab of a stream has
CALLERS = 8  # at a time
REPEATED = 0.25  # of all calls
Ways = Mapping[str, Client]


@pytest.fixture(scope="module")
def ways(tmp_path_factory) -> Iterator[Ways]:
    """Clients of one server, by the transport that they use."""
    place = str(tmp_path_factory.mktemp("runs") / "runs.db")
    with serving(runs=place, slab_bytes=4096) as server, ExitStack() as clients:
        target = f"127.0.0.1:{server.port}"
        yield {
            "unary": clients.enter_context(Client(target, transport="unary")),
            "pack": clients.enter_context(Client(target, coalesce=True)),
            "stream": clients.enter_context(Client(target, transport="stream")),
            "shared_memory": clients.enter_context(Client(target, transport="shared_memory")),
        }


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Iterator[Ways]:
    """A client of a service in this process."""
    with (
        testing.Service(runs=str(tmp_path_factory.mktemp("here") / "runs.db")) as service,
        service.client() as client,
    ):
        yield {"in process": client}


def numbers_of(rng: Random, ways: Ways, rows: Rows) -> tuple[float, ...]:
    """What a run comes to whose rows are sent in parts, each by any transport, and some of them again."""
    name, parts = next(NAMES), list(shards(rng, rows, MOST_KEYS))
    clients = list(ways.values())
    runs = [client.run(name, loss="nll_loss", **rows.options) for client in clients]
    sent = [*parts, *(part for part in parts if rng.random() < REPEATED)]
    rng.shuffle(sent)
    with ThreadPoolExecutor(CALLERS) as callers:
        answers = callers.map(lambda one, run: send(run, *one), sent, [rng.choice(runs) for _ in sent])
        assert list(answers).count(False) == len(parts)
    found = runs[0].finish(key for key, _ in parts)
    assert found.row_count == len(rows)
    return found.loss_sum, found.mean, found.standard_error, found.weight_sum


def send(run, key, rows):
    return run.evaluate(rows.input, rows.target, key=key, sample_weight=rows.sample_weight).was_counted


def bits(numbers: tuple[float, ...]) -> list[bytes]:
    """NaN is itself here, and -0.0 is not 0.0."""
    return [struct.pack("<d", number) if number == number else b"NaN" for number in numbers]


def check_numbers(seed: int, dtype: str, ways: Ways, here: Ways) -> None:
    rng = Random(seed)
    unary = ways["unary"]
    rows = any_rows(rng, unary, rng.randrange(2, rng.choice([60, MOST_ROWS])), dtype)
    expected = bits(rows.numbers(unary))
    for some in (ways, ways, here):
        assert bits(numbers_of(rng, some, rows)) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(6))
def test_numbers_are_those_of_fractions(seed, dtype, ways, here):
    check_numbers(seed, dtype, ways, here)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_many_runs_are_those_of_fractions(dtype, ways, here):
    @settings(max_examples=60, database=None)
    @given(seed=st.integers(100, 2**64))
    def check(seed):
        check_numbers(seed, dtype, ways, here)

    check()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_without_a_finite_loss_are_counted_apart(dtype, ways):
    rng = Random(0)
    finite = any_rows(rng, ways["unary"], 40, dtype)
    odd = np.array([np.nan, np.inf, -np.inf, np.inf], dtype)
    rows = Rows(
        np.concatenate([finite.input, np.repeat(odd[:, None], finite.input.shape[1], 1)]),
        np.concatenate([finite.target, np.zeros(len(odd), int)]),
        None,
        None,
    )
    finite = rows[: len(finite)]
    run = ways["unary"].run(next(NAMES), loss="nll_loss")
    for key, part in shards(rng, rows, MOST_KEYS):
        send(run, key, part)
    sums = run.result().sums
    assert (sums.loss.nan_count, sums.loss.positive_infinity_count, sums.loss.negative_infinity_count) == (1, 1, 2)
    assert bits((rounded(sums.loss.fraction),)) == bits(finite.numbers(ways["unary"])[:1])
    assert np.isnan([sums.statistics.mean, sums.statistics.standard_error]).all()
