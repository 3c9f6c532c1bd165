"""Runs of a server that keeps them, by a client that waits."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import numpy as np
import pytest

from losswire_client import (
    ConflictError,
    InvalidArgumentError,
)
from tests.client.runs.batches import BATCHES, CLASSES, LABELS, LOGITS, TARGET, WEIGHT, filled, shards
from tests.client.runs.test_exact import TRANSPORTS

OPTIONS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"weight": WEIGHT, "ignore_index": 2, "label_smoothing": 0.1},
    "nll_loss": {"weight": WEIGHT.astype(np.float64), "ignore_index": -1},
    "binary_cross_entropy": {"weight": WEIGHT},
    "binary_cross_entropy_with_logits": {"weight": WEIGHT, "pos_weight": WEIGHT[::-1]},
}


@TRANSPORTS
@pytest.mark.parametrize("loss", BATCHES)
def test_run_is_the_sum_of_its_keys(connect, keeper, name, loss, options):
    own, void = OPTIONS[loss], OPTIONS[loss].get("ignore_index", -100)
    ((_, whole),) = shards(loss, count=1, void=void).items()
    whole = getattr(keeper, loss)(*whole, **own, exact=True, outputs=("predictions",)).exact
    with connect(**options) as client, client.run(name, loss=loss, **own) as run:
        result = filled(run).finish(list(shards()))
        assert result.sums == whole
        assert result.statistics == whole.statistics
        assert (result.loss, result.key_count, result.is_finished) == (loss, 5, True)


@TRANSPORTS
def test_key_counts_once(connect, name, options):
    with connect(**options) as client:
        run = filled(client.run(name))
        before = run.result()
        again = [run.evaluate(*shard, key=key).was_counted for key, shard in shards().items()]
        assert again == [True] * 5
        assert run.result() == before


@pytest.mark.parametrize("loss", BATCHES)
def test_method_of_the_loss_counts_like_evaluate(keeper, name, loss):
    with keeper.run(name, loss=loss) as run:
        first = run.evaluate(*BATCHES[loss], key="a", exact=True)
        second = getattr(run, loss)(*BATCHES[loss], key="a", exact=True)
    assert (first.was_counted, second.was_counted) == (False, True)
    assert first.exact == second.exact


@pytest.mark.parametrize("loss", [loss for loss in BATCHES if loss != "nll_loss"])
def test_method_of_another_loss_is_refused(keeper, name, loss):
    run = keeper.run(name, loss="nll_loss")
    with pytest.raises(InvalidArgumentError, match=f"^loss: expected nll_loss, .*{name!r}, got {loss}$"):
        getattr(run, loss)(*BATCHES[loss], key="a")


def test_numbers_of_a_result_are_those_of_the_rows(keeper, name):
    rows = keeper.cross_entropy(LOGITS, TARGET, reduction="none", outputs=("predictions",))
    losses, counted = rows.loss.astype(np.float64), TARGET != -100
    result = filled(keeper.run(name)).result()
    assert result.mean == pytest.approx(losses.sum() / counted.sum(), rel=1e-14)
    assert result.loss_sum == pytest.approx(losses.sum(), rel=1e-14)
    assert result.weight_sum == result.row_count == counted.sum()
    assert result.ignored_count == (~counted).sum()
    assert result.standard_error == pytest.approx(losses[counted].std(ddof=1) / counted.sum() ** 0.5, rel=1e-12)
    assert result.perplexity == pytest.approx(np.exp(result.mean), rel=1e-14)
    assert result.accuracy == pytest.approx((rows.predictions == TARGET)[counted].mean(), rel=1e-14)
    assert result.nonfinite_count == 0
    assert result.created <= result.updated
    assert result.created.tzinfo is UTC
    assert (result.finished, result.expected_keys, result.by_slice, result.by_class) == (None, None, {}, {})


def test_rows_that_are_not_finite_are_counted(keeper, name):
    run = keeper.run(name)
    logits = LOGITS[:3].copy()
    logits[1] = np.nan
    run.cross_entropy(logits, [0, 1, 2], key="a")
    result = run.result()
    assert (result.nonfinite_count, result.row_count) == (1, 3)
    assert np.isnan(result.mean)


def test_slices_and_classes_add_up_by_themselves(keeper, name):
    run = keeper.run(name, by_class=True)
    slices = dict(zip(shards(), ["web", "books", "web", "", "books"], strict=True))
    for key, shard in shards().items():
        assert run.cross_entropy(*shard, key=key, slice=slices[key]).exact is None
    result = run.result()
    assert list(result.by_slice) == ["books", "web"]
    assert [totals.key_count for totals in result.by_slice.values()] == [2, 2]
    web = [keeper.cross_entropy(*shards()[key], exact=True).exact for key in shards() if slices[key] == "web"]
    assert result.by_slice["web"].sums.is_same(web[0] + web[1])
    assert list(result.by_class) == list(range(CLASSES))
    assert sum(totals.row_count for totals in result.by_class.values()) == result.row_count
    assert {key.slice for key in run.keys("web")} == {"web"}
    assert [key.key for key in run.keys("")] == ["shard-3"]


def test_result_has_what_the_caller_asked_for(keeper, name):
    run = keeper.run(name, by_class=True)
    rows = run.cross_entropy(LOGITS, TARGET, key="a", reduction="none")
    assert rows.loss.shape == TARGET.shape
    assert (rows.predictions, rows.exact, rows.exact_by_class) == (None, None, None)
    assert rows.correct_count == run.result().sums.correct_count
    rows = run.cross_entropy(LOGITS, TARGET, key="a", outputs=["predictions"], exact=True)
    assert rows.predictions.shape == TARGET.shape
    assert (rows.exact == run.result().sums, rows.exact_by_class) == (True, None)
    assert run.cross_entropy(LOGITS, TARGET, key="a", exact="by_class").exact_by_class.keys() == set(range(CLASSES))


def test_accuracy_is_left_out_if_told(keeper, name):
    run = filled(keeper.run(name, accuracy=False))
    assert run.result().accuracy is None
    assert run.progress().statistics.accuracy is None


def test_sample_weights_count(keeper, name):
    run, weight = keeper.run(name), np.linspace(0, 1, len(TARGET), dtype=np.float32)
    once = run.cross_entropy(LOGITS, TARGET, key="a", sample_weight=weight, exact=True)
    assert run.result().sums.loss == once.exact.loss != keeper.cross_entropy(LOGITS, TARGET, exact=True).exact.loss


def test_other_sums_under_a_key_are_a_conflict(keeper, name):
    run = keeper.run(name)
    counted = run.cross_entropy(LOGITS, TARGET, key="a", exact=True).exact
    with pytest.raises(ConflictError, match="counts with loss_sum") as raised:
        run.cross_entropy(LOGITS[:5], TARGET[:5], key="a")
    assert raised.value.counted == counted
    assert raised.value.came
    assert raised.value.came.row_count + raised.value.came.ignored_count == 5
    with pytest.raises(ConflictError, match="in the slice 'web'"):
        run.cross_entropy(LOGITS, TARGET, key="a", slice="web")
    assert run.result().sums == counted


def test_run_is_created_once(keeper, name):
    first = keeper.run(name, weight=WEIGHT, labels={"model": "m"}, expected_keys=2)
    again = keeper.run(name, weight=WEIGHT.copy(), labels={"model": "m"}, expected_keys=2)
    assert (again.digest, again.labels, again.by_class) == (first.digest, {"model": "m"}, False)
    others: dict[str, dict[str, Any]] = {
        "loss": {"loss": "nll_loss"},
        "weight": {"weight": WEIGHT * 2},
        "label_smoothing": {"weight": WEIGHT, "label_smoothing": 0.5},
        "by_class": {"weight": WEIGHT, "by_class": True},
        "labels": {"weight": WEIGHT, "labels": {}},
    }
    for argument, other in others.items():
        with pytest.raises(ConflictError, match=f"^{argument}: run {name!r}") as raised:
            keeper.run(name, **{"labels": {"model": "m"}, **other})
        assert raised.value.argument == argument
    assert str(raised.value) == f"labels: run {name!r} has model='m', got no model"


@pytest.mark.parametrize("loss", BATCHES)
def test_other_machines_need_not_know_the_options(keeper, name, loss):
    created = keeper.run(name, loss=loss, **OPTIONS[loss])
    found = keeper.get_run(name)
    assert (found.name, found.loss, found.digest) == (name, loss, created.digest)
    for option, value in OPTIONS[loss].items():
        np.testing.assert_array_equal(found.options[option], value)
        assert np.asarray(found.options[option]).dtype == np.asarray(value).dtype
    filled(found)
    again = shards(loss, void=OPTIONS[loss].get("ignore_index", -100))
    assert all(created.evaluate(*shard, key=key).was_counted for key, shard in again.items())


def test_threads_share_a_run(keeper, name):
    run = keeper.run(name)
    with ThreadPoolExecutor(8) as pool:
        calls = itertools.product(shards().items(), range(8))
        was = list(pool.map(lambda one: run.evaluate(*one[0][1], key=one[0][0]).was_counted, calls))
    assert was.count(False) == 5
    assert run.result().key_count == 5


def test_texts_of_runs_can_be_read(keeper, name):
    run = filled(keeper.run(name, expected_keys=5), slice="web")
    assert str(run.progress()) == f"{name}: 5 of 5 keys, 294 rows, mean {run.result().mean:.6g}"
    lines = str(run.finish()).splitlines()
    assert lines[0].startswith(f"{name} (cross_entropy), finished ")
    assert [line.split()[0] for line in lines[1:]] == ["mean", "perplexity", "accuracy", "rows", "keys", "slice"]
    assert "294, 6 ignored, 0 not finite" in lines[4]
    assert repr(run) == f"Run({name!r}, loss='cross_entropy', client={keeper!r})"


def test_limits_of_runs_are_told(keeper):
    assert keeper.capabilities().run_limits.max_request_keys > 0


def test_binary_labels_are_classes(keeper, name):
    run = keeper.run(name, loss="binary_cross_entropy_with_logits", by_class=True)
    run.binary_cross_entropy_with_logits(LOGITS, LABELS, key="a")
    counts = {number: totals.row_count for number, totals in run.result().by_class.items()}
    assert counts == {0: (LABELS == 0).sum(), 1: (LABELS == 1).sum()}
