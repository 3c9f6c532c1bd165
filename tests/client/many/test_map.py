"""Many batches with a window in flight."""

import asyncio
import threading
from typing import Any

import grpc
import numpy as np
import pytest

from losswire_client import AsyncClient, Client, InvalidArgumentError
from tests.client.many.mapping import BOTH, mapped
from tests.client.request.verdicts import unchecked
from tests.helpers import eventually
from tests.present import present

RNG = np.random.default_rng(0)
BATCHES = [(RNG.standard_normal((n % 7 + 1, 5), np.float32), RNG.integers(0, 5, n % 7 + 1)) for n in range(50)]


@BOTH
@pytest.mark.parametrize("window", [1, 3, 100])
def test_results_are_those_of_single_calls(client, target, kind, window):
    results = list(mapped(kind(target), iter(BATCHES), window=window, reduction="sum", grad=True))
    assert len(results) == len(BATCHES)
    for batch, result in zip(BATCHES, results, strict=True):
        expected = client.cross_entropy(*batch, reduction="sum", grad=True)
        assert result.loss == expected.loss
        assert np.array_equal(present(result.grad), present(expected.grad))


@BOTH
def test_batches_may_be_mappings_of_any_loss(client, target, kind):
    batches = [{"input": np.full((3, 2), p, np.float32), "target": np.ones((3, 2)), "weight": [p, 1]} for p in (0.1, 1)]
    results = mapped(kind(target), batches, loss="binary_cross_entropy")
    assert [r.loss for r in results] == [client.binary_cross_entropy(**batch).loss for batch in batches]


@BOTH
def test_map_takes_one_window_ahead(target, kind):
    taken = []

    def batches():
        for batch in BATCHES:
            taken.append(batch)
            yield batch

    if kind is Client:
        with Client(target) as client:
            results: Any = client.map(batches(), window=4)
            assert taken == []
            next(results)
            assert len(taken) == 4
            results.close()
        return

    async def first():
        async with AsyncClient(target) as client:
            results: Any = client.map(batches(), window=4)
            await anext(results)
            assert len(taken) == 4
            await results.aclose()

    asyncio.run(first())


def test_batches_may_come_asynchronously(target):
    async def batches():
        for batch in BATCHES:
            await asyncio.sleep(0)
            yield batch

    assert len(list(mapped(AsyncClient(target), batches()))) == len(BATCHES)


@BOTH
def test_error_says_which_batch_it_is_of(target, kind):
    wrong = [*BATCHES[:7], (BATCHES[7][0], BATCHES[7][1] + 9), *BATCHES[8:]]
    with pytest.raises(InvalidArgumentError, match="target: expected classes") as raised:
        list(mapped(kind(target), wrong, window=3))
    assert (
        str(raised.value)
        == "batch 7: target: expected classes in [0, 5) or ignore_index -100, got " + str(wrong[7][1][0]) + " at row 0"
    )
    assert (raised.value.batch, raised.value.argument, raised.value.code) == (
        7,
        "target",
        grpc.StatusCode.INVALID_ARGUMENT,
    )


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
def test_missing_batch_is_told_in_its_turn(target, kind, coalesce):
    class MissingFileError(OSError):
        pass

    def batches():
        yield from BATCHES[:17]
        raise MissingFileError(2, "no such shard")

    results = mapped(kind(target, coalesce=coalesce), batches(), window=8)
    assert [next(results).row_count for _ in range(17)] == [len(target) for _, target in BATCHES[:17]]
    with pytest.raises(MissingFileError, match="no such shard") as raised:
        next(results)
    error: Any = raised.value
    assert (error.errno, error.batch, error.__notes__) == (2, 17, ["in batch 17"])


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
def test_server_error_keeps_its_details(target, kind, coalesce):
    batches = [*BATCHES[:3], (BATCHES[3][0], BATCHES[3][1] * 0 - 1)]
    with unchecked(), pytest.raises(InvalidArgumentError, match=r"^batch 3: target: .* ignore_index=-1$") as raised:
        list(mapped(kind(target, coalesce=coalesce), batches))
    assert (raised.value.batch, raised.value.argument) == (3, "target")
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
@pytest.mark.parametrize("batch", [5, "ab", None])
def test_what_is_no_batch_is_refused(target, kind, coalesce, batch):
    with pytest.raises(InvalidArgumentError, match=r"^batch 1: batches: expected the loss's first arguments, .*, got"):
        list(mapped(kind(target, coalesce=coalesce), [BATCHES[0], batch]))


def test_wrapped_loss_keeps_its_arguments(target, monkeypatch):
    evaluate = Client.cross_entropy
    monkeypatch.setattr(Client, "cross_entropy", lambda *arguments, **options: evaluate(*arguments, **options))
    with Client(target) as client:
        assert sum(1 for _ in client.map(BATCHES, reduction="sum", ignore_index=0)) == len(BATCHES)


def test_generator_outlives_a_map_left_early(target):
    batches = iter(BATCHES)
    rest = (batch for batch in batches)
    with Client(target) as client:
        results: Any = client.map(rest, window=2)
        next(results)
        results.close()
        assert sum(1 for _ in client.map(rest)) == len(BATCHES) - 2


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window: expected a whole number of at least 1, got 0"),
        ({"window": True}, "window: expected"),
        ({"window": 2.0}, "window: expected"),
        ({"loss": "mse_loss"}, "loss: expected one of 'cross_entropy', .*, got 'mse_loss'"),
        ({"progress": "yes"}, "progress: expected one of False, True, got 'yes'"),
        ({"label_smooth": 0.1}, r"map\(\) got an unexpected keyword argument 'label_smooth'; .* 'label_smoothing'"),
    ],
)
def test_wrong_option_is_refused_at_once(target, kind, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        kind(target).map(BATCHES, **options)


@BOTH
def test_no_iterable_is_refused_at_once(target, kind):
    with pytest.raises(InvalidArgumentError, match=r"batches: expected an iterable of batches, .*, got 5"):
        kind(target).map(5)


@BOTH
def test_bar_shows_count_and_exact_mean(client, target, kind, capsys):
    list(mapped(kind(target), BATCHES, progress=True))
    bar = capsys.readouterr().err
    results = list(client.map(BATCHES))
    mean = sum(r.loss_sum for r in results) / sum(r.weight_sum for r in results)
    assert "50/50" in bar
    assert f"loss={mean:.3g}" in bar


def test_missing_progress_bar_is_told(target, monkeypatch):
    monkeypatch.setattr("losswire_client._many.progress.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install ./proto './client\[progress\]'"):
        Client(target).map(BATCHES, progress=True)


def test_no_thread_outlives_the_results(target):
    with Client(target) as client:
        for _ in client.map(BATCHES, window=8):
            break
        assert sum(1 for _ in client.map(BATCHES[:3])) == 3
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("losswire-map")])
