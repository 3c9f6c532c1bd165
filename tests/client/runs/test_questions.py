"""What a run answers: keys, lists, progress, and its end."""

from datetime import UTC

import pytest

from losswire_client import (
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
)
from tests.client.runs.batches import LOGITS, TARGET, filled, shards


def test_run_that_is_not_there_is_not_found(keeper, name):
    with pytest.raises(NotFoundError):
        keeper.get_run(name)
    run = keeper.run(name)
    run.delete()
    for call in (run.result, run.progress, run.finish, run.delete, lambda: list(run.keys()), lambda: list(run.watch())):
        with pytest.raises(LookupError):
            call()
    with pytest.raises(NotFoundError):
        run.cross_entropy(LOGITS, TARGET, key="a")


def test_missing_keys_come_in_their_order(keeper, name):
    run = filled(keeper.run(name))
    wanted = [f"shard-{number}" for number in reversed(range(12))]
    assert run.missing(wanted) == wanted[:7]
    assert run.missing(iter(wanted[7:])) == []
    assert run.missing([]) == []


def test_keys_have_their_sums(keeper, name):
    keys = list(filled(keeper.run(name)).keys())
    assert [key.key for key in keys] == sorted(shards())
    for key in keys:
        input, target = shards()[key.key]
        assert key.sums.is_same(keeper.cross_entropy(input, target, exact=True).exact)
        assert (key.row_count, key.key_count, key.slice) == ((target != -100).sum(), 1, "")
        assert key.committed.tzinfo is UTC


def test_runs_are_listed_by_prefix(keeper, name):
    for number in range(5):
        keeper.run(f"{name[:150]}/{number}", labels={"number": str(number)})
    found = list(keeper.runs(prefix=f"{name[:150]}/"))
    assert [run.labels["number"] for run in found] == ["4", "3", "2", "1", "0"]
    assert {run.key_count for run in found} == {0}
    assert {run.name for run in found} <= {run.name for run in keeper.runs()}


@pytest.mark.parametrize("keys", [["shard-0", "shard-1"], ["shard-0", "shard-1", "shard-2", "shard-3", "x", "y"]])
def test_finish_tells_missing_keys(keeper, name, keys):
    run = filled(keeper.run(name))
    with pytest.raises(PreconditionError) as raised:
        run.finish(keys)
    assert raised.value.missing == [key for key in keys if key in "xy"]
    assert all(f"{key!r}" in str(raised.value) for key in raised.value.missing)
    if "x" not in keys:
        assert sorted(raised.value.unexpected) == ["shard-2", "shard-3", "shard-4"]
    assert not run.progress().is_finished


@pytest.mark.parametrize(
    "expected",
    [{"keys": [*shards(), *shards()]}, {"keys": (key for key in shards())}, {"count": 5}, {}],
    ids=["keys", "generator", "count", "as created"],
)
def test_finished_run_stays_as_it_is(keeper, name, expected):
    run = filled(keeper.run(name, expected_keys=5))
    result = run.finish(**expected)
    assert result.is_finished
    assert result.finished
    assert result.finished >= result.updated
    assert run.evaluate(*shards()["shard-1"], key="shard-1").was_counted
    with pytest.raises(PreconditionError):
        run.evaluate(*shards()["shard-1"], key="new")
    assert run.finish() == run.result() == result


def test_wrong_count_is_not_finished(keeper, name):
    run = filled(keeper.run(name))
    for count in (4, 6):
        with pytest.raises(PreconditionError):
            run.finish(count=count)
    with pytest.raises(InvalidArgumentError):
        run.finish()
