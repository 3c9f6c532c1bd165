"""How much the store keeps: what is over a quota fails alone."""

import asyncio

import pytest
from pydantic import ValidationError

from losswire.errors import FieldError
from losswire_server import Settings
from losswire_server.requests.check import MAX_SUMMED_CLASSES
from losswire_server.runs.errors import RunFinishedError, RunMismatchError, RunNotFoundError, RunQuotaError
from losswire_server.runs.quotas import Quotas
from tests.server.runs.making import DIGEST, commit, create, entry, opened, sums_of


def kinds(outcomes):
    return [outcome if isinstance(outcome, bool) else type(outcome) for outcome in outcomes]


def test_number_of_runs_has_a_limit(place):
    with opened(place, max_runs=2) as runs:
        create(runs, "a")
        create(runs, "b")
        with pytest.raises(RunQuotaError, match="there are 2 runs"):
            create(runs, "c")
        create(runs, "a")
        asyncio.run(runs.delete("a"))
        create(runs, "c")


def test_number_of_keys_has_a_limit(place):
    with opened(place, max_run_keys=2) as runs:
        create(runs)
        keys = [entry(key, 1.0) for key in "abac"]
        assert kinds(commit(runs, *keys)) == [False, False, True, RunQuotaError]
        assert kinds(commit(runs, *keys)) == [True, True, True, RunQuotaError]
        assert asyncio.run(runs.get("a")).totals.key_count == 2


def test_number_of_slices_has_a_limit(place):
    with opened(place, max_run_slices=2) as runs:
        create(runs)
        slices = [entry(str(number), 1.0, slice=name) for number, name in enumerate(["x", "y", "z", "x", ""])]
        assert kinds(commit(runs, *slices)) == [False, False, RunQuotaError, False, False]
        assert kinds(commit(runs, entry("6", 1.0, slice="z"), entry("7", 1.0, slice="y"))) == [RunQuotaError, False]
        assert {name: totals.key_count for name, totals in asyncio.run(runs.get("a")).slices.items()} == {
            "x": 2,
            "y": 2,
        }


def test_number_of_classes_has_a_limit(place):
    one = sums_of(1.0)
    with opened(place, max_run_classes=2) as runs:
        create(runs, by_class=True)
        classes = (("a", [0]), ("b", [1, 2]), ("c", [0, 1]))
        three = [entry(key, 1.0, by_class=dict.fromkeys(some, one)) for key, some in classes]
        assert kinds(commit(runs, *three)) == [False, RunQuotaError, False]
        assert kinds(commit(runs, entry("d", 1.0, by_class={2: one}))) == [RunQuotaError]


def test_length_of_keys_has_a_limit(place):
    with opened(place, max_key_bytes=4) as runs:
        create(runs)
        entries = [entry("éé", 1.0, slice="éé"), entry("ééa", 1.0), entry("a", 1.0, slice="abcde")]
        assert kinds(commit(runs, *entries)) == [False, FieldError, FieldError]


def test_quotas_are_settings():
    settings = Settings(max_runs=1, max_run_keys=2, max_key_bytes=3, max_run_slices=4, max_run_classes=5)
    assert Quotas.of(settings) == (1, 2, 3, 4, 5, 0.0)
    assert Quotas.of(Settings()) == Quotas()


def test_no_more_classes_are_told_than_an_evaluation_may_have():
    assert Settings(max_run_classes=MAX_SUMMED_CLASSES).max_run_classes == MAX_SUMMED_CLASSES
    with pytest.raises(ValidationError, match="max_run_classes"):
        Settings(max_run_classes=MAX_SUMMED_CLASSES + 1)


def test_check_refuses_early(place):
    with opened(place, max_run_keys=1) as runs:
        create(runs, by_class=True)
        create(runs, "full")
        create(runs, "done")
        commit(runs, entry("k", 1.0, run="full"), entry("k", 1.0, run="done"))
        asyncio.run(runs.finish("done", None, 1))
        asyncio.run(runs.check("a", DIGEST, by_class=True, key="k", slice=""))
        asyncio.run(runs.check("full", DIGEST, by_class=False, key="k", slice=""))
        asyncio.run(runs.check("done", DIGEST, by_class=False, key="k", slice=""))
        for problem, run, digest, by_class, key in (
            (RunNotFoundError, "none", DIGEST, True, "k"),
            (RunMismatchError, "a", "e" * 64, True, "k"),
            (RunMismatchError, "a", DIGEST, False, "k"),
            (RunQuotaError, "full", DIGEST, False, "l"),
            (RunFinishedError, "done", DIGEST, False, "l"),
            (FieldError, "a", DIGEST, True, "k\0"),
            (FieldError, "a", DIGEST, True, "k" * 513),
        ):
            with pytest.raises(problem):
                asyncio.run(runs.check(run, digest, by_class=by_class, key=key, slice=""))


def test_check_knows_of_a_deletion(place):
    with opened(place) as runs:
        create(runs)
        asyncio.run(runs.check("a", DIGEST, by_class=False, key="k", slice=""))
        asyncio.run(runs.delete("a"))
        with pytest.raises(RunNotFoundError):
            asyncio.run(runs.check("a", DIGEST, by_class=False, key="k", slice=""))
