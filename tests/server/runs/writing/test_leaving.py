"""Callers who leave while the database does not answer, and what they have sent."""

import asyncio
import gc
import weakref

import pytest

from losswire.exact_sums import ExactSums
from losswire_server.runs import runs as module
from losswire_server.runs.database import patience
from losswire_server.runs.errors import StoreUnavailableError
from losswire_server.runs.records import Totals
from tests.server.runs.making import commit, create, entry, opened, sums_of
from tests.server.runs.test_loss import locked


class Classes(dict[int, ExactSums]):
    """Sums by class, which are large."""


def test_caller_who_leaves_adds_nothing_and_holds_nothing(tmp_path):
    place = str(tmp_path / "runs.db")
    with opened(place) as runs:
        create(runs)

        async def leave():
            first = asyncio.ensure_future(runs.commit([entry("first", 1.0)]))
            await asyncio.sleep(0.05)  # it is being written, in vain
            classes = Classes()
            left = asyncio.ensure_future(runs.commit([entry("left", 1.0, by_class=classes)]))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.wait([left])
            return first, weakref.ref(classes)

        async def come_and_leave():
            with locked(place):
                first, held = await leave()
                gc.collect()
                assert held() is None
            return await first

        assert asyncio.run(come_and_leave()) == [False]
        assert commit(runs, entry("left", 1.0)) == [False]


def test_database_that_does_not_answer_is_told_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.1)
    place = str(tmp_path / "runs.db")
    with opened(place) as runs:
        create(runs)
        with locked(place):
            outcomes = [commit(runs, entry(str(number), 1.0))[0] for number in range(2)]
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
        assert "0.1 seconds" in str(outcomes[0])
        monkeypatch.undo()
        assert commit(runs, entry("1", 1.0)) == [False]  # the second one did not wait on


@pytest.mark.slow
def test_postgresql_that_hangs_is_given_up(database, monkeypatch):
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.5)
    place = f"{database.new_schema('frozen')}&connect_timeout=2"
    with opened(place) as runs:
        create(runs)
        with database.frozen():
            assert [type(outcome) for outcome in commit(runs, entry("k", 1.0))] == [StoreUnavailableError]
            with pytest.raises(StoreUnavailableError):
                asyncio.run(runs.get("a"))
            with pytest.raises(StoreUnavailableError):
                asyncio.run(runs.delete("a"))
        assert commit(runs, entry("k", 1.0))[0] in (False, True)  # the first one may have reached it
        assert asyncio.run(runs.get("a")).totals == Totals(1, sums_of(1.0))
