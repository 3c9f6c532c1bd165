"""What observers are told, for metrics."""

import asyncio

from losswire_server.runs.records import Totals
from losswire_server.runs.writing.commits import Commits
from tests.server.runs.making import commit, create, entry, opened, sums_of


class Noted:
    def __init__(self):
        self.commits = []

    def committed(self, commit):
        self.commits.append(commit)

    def unavailable(self):
        raise AssertionError


def test_each_commit_is_told(place):
    noted = Noted()
    with opened(place, observer=noted) as runs:
        create(runs)
        first, second = entry("k", 1.0), entry("k", 2.0)
        commit(runs, first, first, second, entry("l", 4.0), entry("m", 1.0, run="none"))
        commit(runs, first)
    one, repeat = noted.commits
    assert (one.counted, one.repeats, one.conflicts, one.refused) == (2, 1, 1, 1)
    assert 0 < one.seconds < 60
    (record,) = one.runs
    assert (record.name, record.totals) == ("a", Totals(2, sums_of(1.0, 4.0)))
    assert (repeat.counted, repeat.repeats, repeat.runs) == (0, 1, [])


def test_observer_that_fails_harms_nobody(place, caplog):
    class Broken(Noted):
        def committed(self, commit):
            raise ZeroDivisionError(commit)

    with opened(place, observer=Broken()) as runs:
        create(runs)
        assert commit(runs, entry("k", 1.0)) == [False]
        assert asyncio.run(runs.get("a")).totals.key_count == 1
    assert [record.name for record in caplog.records if record.exc_info] == [Commits.__module__]
