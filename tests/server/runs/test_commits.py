"""What counts, what does not, and what it comes to."""

import asyncio
import functools
import math
import operator
from dataclasses import replace

import pytest

from losswire.errors import FieldError
from losswire.exact_sum import ExactSum
from losswire.exact_sums import NOTHING
from losswire.sketch import Sketch
from losswire_server.runs.errors import KeyConflictError, RunFinishedError, RunMismatchError, RunNotFoundError
from losswire_server.runs.records import Totals
from losswire_server.runs.writing.adder import Adder
from tests.server.runs.making import commit, create, entry, new_run, sums_of


def test_key_counts_once(runs):
    create(runs)
    assert commit(runs, entry("k", 1.0, 2.0)) == [False]
    assert commit(runs, entry("k", 1.0, 2.0)) == [True]
    found = asyncio.run(runs.get("a"))
    assert found.totals == Totals(1, sums_of(1.0, 2.0))


def test_totals_are_exact(runs):
    create(runs)
    losses = [1e300, 1.0, -1e300, 2**-1074, math.nan, math.inf]
    for number, loss in enumerate(losses):
        commit(runs, entry(str(number), loss))
    found = asyncio.run(runs.get("a")).totals
    assert found.key_count == 6
    assert found.sums.loss.fraction == 1 + sums_of(2**-1074).loss.fraction
    assert (found.sums.loss.nan_count, found.sums.loss.positive_infinity_count) == (1, 1)


@pytest.mark.parametrize("second", [entry("k", 2.0), entry("k", 1.0, slice="x")], ids=["sums", "slice"])
def test_other_sums_or_slice_conflict(runs, second):
    create(runs)
    commit(runs, entry("k", 1.0))
    (error,) = commit(runs, second)
    assert isinstance(error, KeyConflictError)
    assert (error.entry, error.counted.sums, error.counted.slice) == (second, sums_of(1.0), "")
    assert asyncio.run(runs.get("a")).totals == Totals(1, sums_of(1.0))


def test_repeat_may_lack_predictions(runs):
    create(runs)
    one = entry("k", 1.0)
    assert commit(runs, one._replace(sums=sums_of(1.0, correct=1))) == [False]
    assert commit(runs, one) == [True]
    (error,) = commit(runs, one._replace(sums=sums_of(1.0, correct=0)))
    assert isinstance(error, KeyConflictError)


def test_entries_together_are_each_for_itself(runs):
    create(runs)
    create(runs, "classes", by_class=True)
    outcomes = commit(
        runs,
        entry("k", 1.0),
        entry("k", 1.0),
        entry("k", 2.0),
        entry("k", 1.0, run="none"),
        entry("other", 1.0)._replace(digest="e" * 64),
        entry("other", 1.0, run="classes"),
        entry("nul\0", 1.0),
        entry("", 1.0),
        entry("last", 4.0),
    )
    assert outcomes[:2] == [False, True]
    errors = [KeyConflictError, RunNotFoundError, RunMismatchError, RunMismatchError, FieldError, FieldError]
    assert [type(outcome) for outcome in outcomes[2:-1]] == errors
    assert [outcomes[4].field, outcomes[5].field] == ["spec", "exact.by_class"]
    assert outcomes[-1] is False
    assert asyncio.run(runs.get("a")).totals == Totals(2, sums_of(1.0, 4.0))
    assert asyncio.run(runs.get("classes")).totals == Totals(0, NOTHING)


def test_slices_and_classes_have_totals(runs):
    create(runs, by_class=True)
    commit(runs, entry("1", 1.0, 2.0, slice="x", by_class={3: sums_of(1.0), 7: sums_of(2.0)}))
    commit(runs, entry("2", 4.0, slice="y", by_class={3: sums_of(4.0)}), entry("3", 8.0, by_class={5: sums_of(8.0)}))
    commit(runs, entry("4", 16.0, slice="x", by_class={7: sums_of(16.0)}))
    found = asyncio.run(runs.get("a"))
    assert found.slices == {"x": Totals(2, sums_of(1.0, 2.0, 16.0)), "y": Totals(1, sums_of(4.0))}
    assert list(found.classes.items()) == [
        (3, Totals(None, sums_of(1.0, 4.0))),
        (5, Totals(None, sums_of(8.0))),
        (7, Totals(None, sums_of(2.0, 16.0))),
    ]
    progress = asyncio.run(runs.progress("a"))
    assert (progress.totals, progress.slices, progress.classes) == (found.totals, {}, {})


def test_finished_run_takes_repeats_only(runs):
    create(runs)
    commit(runs, entry("k", 1.0))
    asyncio.run(runs.finish("a", None, 1))
    repeat, conflict, unknown = commit(runs, entry("k", 1.0), entry("k", 2.0), entry("l", 1.0))
    assert repeat is True
    assert isinstance(conflict, KeyConflictError)
    assert isinstance(unknown, RunFinishedError)


def test_many_callers_share_transactions(runs):
    create(runs)

    async def all_at_once():
        return await asyncio.gather(*(runs.commit([entry(str(number), 1.0)]) for number in range(500)))

    assert asyncio.run(all_at_once()) == [[False]] * 500
    assert asyncio.run(runs.get("a")).totals == Totals(500, sums_of(*[1.0] * 500))


def test_many_runs_may_be_in_one_transaction(runs):
    names = [f"run{number}" for number in range(20)]
    for name in names:
        create(runs, name)
    for key in "kl":
        assert commit(runs, *(entry(key, 1.0, run=name, slice="x") for name in names)) == [False] * 20
    for name in names:
        assert asyncio.run(runs.get(name)).slices == {"x": Totals(2, sums_of(1.0, 1.0))}


def test_keys_of_any_text_count(runs):
    create(runs)
    names = ["é", "\U0001f600", " ", "'; DROP TABLE losswire_runs; --", "%", "a" * 512, "日本"]
    assert commit(runs, *(entry(name, 1.0, slice=name) for name in names)) == [False] * len(names)
    assert commit(runs, *(entry(name, 1.0, slice=name) for name in names)) == [True] * len(names)
    keys, token = asyncio.run(runs.keys("a", 100))
    assert [record.key for record in keys] == sorted(names, key=str.encode)
    assert token == ""
    assert sorted(asyncio.run(runs.get("a")).slices) == sorted(names)


def test_cancelled_call_harms_no_other(runs):
    create(runs)

    async def cancel_one():
        left, stays = (asyncio.ensure_future(runs.commit([entry(key, 1.0)])) for key in "ab")
        await asyncio.sleep(0)
        left.cancel()
        return await stays

    assert asyncio.run(cancel_one()) == [False]


def test_created_again_it_is_another_run(runs):
    create(runs)
    commit(runs, entry("k", 1.0))
    asyncio.run(runs.delete("a"))
    assert asyncio.run(runs.create(new_run()))[1]
    assert commit(runs, entry("k", 2.0)) == [False]


def test_sums_in_place_are_the_same():
    parts = [sums_of(0.1, -2.5), sums_of(math.nan, 1.0, correct=1), sums_of(math.inf, -math.inf), sums_of(2**-1074)]
    labelled = replace(sums_of(1.0), change=ExactSum(1), change_squared=ExactSum(2), sketch=Sketch((3,), (4,)))
    unlabelled = replace(labelled, change=None, change_squared=None)
    of_divergences = [
        [NOTHING, labelled, labelled],
        [labelled, NOTHING],
        [labelled, unlabelled],
        [unlabelled, labelled],
    ]
    for some in (parts, parts[:1], [sums_of(1.0, correct=1), sums_of(2.0, correct=0)], *of_divergences):
        adder = Adder(some[0])
        for part in some[1:]:
            adder.add(part)
        assert adder.total == functools.reduce(operator.add, some)
