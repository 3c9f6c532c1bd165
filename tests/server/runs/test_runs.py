"""Creating, reading, listing, finishing and deleting runs."""

import asyncio
from contextlib import suppress

import pytest

from losswire.errors import FieldError
from losswire.exact_sums import NOTHING
from losswire_server.runs.errors import RunExistsError, RunFinishedError, RunIncompleteError, RunNotFoundError
from losswire_server.runs.records import Totals
from tests.server.runs.making import DIGEST, commit, create, entry, new_run, opened


def ask(coroutine):
    return asyncio.run(coroutine)


def test_run_is_as_its_creator_wants(runs):
    new = new_run("val/2026", spec=b"\0\xff", by_class=True, labels={"model": "é\0", "": "x"}, expected_keys=3)
    made, is_new = ask(runs.create(new))
    assert is_new
    assert (made.name, made.spec, made.digest, made.by_class) == ("val/2026", b"\0\xff", DIGEST, True)
    assert (dict(made.labels), made.expected_keys, made.finished_at) == (dict(new.labels), 3, None)
    assert made.created_at == made.updated_at
    assert (made.totals, made.slices, made.classes) == (Totals(0, NOTHING), {}, {})
    assert ask(runs.create(new)) == (made, False)
    assert ask(runs.get("val/2026")) == ask(runs.progress("val/2026")) == made


def test_run_expects_what_was_said_last(runs):
    for number, expected in ((None, None), (3, 3), (None, 3), (4, 4)):
        made, _ = ask(runs.create(new_run("growing", expected_keys=number)))
        assert made.expected_keys == expected
    commit(runs, *(entry(key, run="growing") for key in "abcd"))
    ask(runs.finish("growing", None, 4))
    assert ask(runs.create(new_run("growing", expected_keys=9)))[0].expected_keys == 4  # it is over


@pytest.mark.parametrize(
    ("field", "other"),
    [("spec", {"digest": "e" * 64}), ("by_class", {"by_class": True}), ("labels", {"labels": {"a": "b"}})],
)
def test_other_run_of_the_name_is_refused(runs, field, other):
    create(runs)
    with pytest.raises(RunExistsError) as refused:
        create(runs, **other)
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["none", "nul\0"])
def test_run_that_is_not_there(runs, name):
    for call in (runs.get, runs.progress, runs.delete):
        with pytest.raises(RunNotFoundError, match="there is no run"):
            ask(call(name))
    for call in (runs.keys(name, 10), runs.missing(name, ["k"]), runs.finish(name, None, 0)):
        with pytest.raises(RunNotFoundError):
            ask(call)


def test_list_has_the_newest_first(runs):
    for number in range(5):
        create(runs, f"a{number}", labels={"n": str(number)})
    create(runs, "A0")
    create(runs, "a%")
    first, token = ask(runs.list(3))
    second, last = ask(runs.list(3, token))
    third, end = ask(runs.list(3, last))
    assert [run.name for run in first + second + third] == ["a%", "A0", "a4", "a3", "a2", "a1", "a0"]
    assert (first[2].labels, first[2].spec) == ({"n": "4"}, b"")
    assert end == ""
    assert [run.name for run in ask(runs.list(10, "", "a%"))[0]] == ["a%"]
    assert [run.name for run in ask(runs.list(10, "", "A"))[0]] == ["A0"]


@pytest.mark.parametrize("token", ["x", "-1", "9" * 30, "1 OR 1"])
def test_list_refuses_a_wrong_token(runs, token):
    with pytest.raises(FieldError, match="page_token"):
        ask(runs.list(10, token))


def test_keys_come_in_pages(runs):
    create(runs)
    names = [f"k{number:02}" for number in range(25)]
    commit(runs, *(entry(name, 1.0, slice="even" if number % 2 == 0 else "") for number, name in enumerate(names)))
    found, token = [], ""
    for _ in range(3):
        page, token = ask(runs.keys("a", 10, token))
        found += [record.key for record in page]
    assert (found, token) == (names, "")
    even, more = ask(runs.keys("a", 12, slice="even"))
    assert ([record.key for record in even], bool(more)) == (names[:24:2], True)
    assert [record.key for record in ask(runs.keys("a", 12, more, "even"))[0]] == ["k24"]
    assert len(ask(runs.keys("a", 100, slice=""))[0]) == 12
    assert len(ask(runs.keys("a", 25))[0]) == 25
    assert ask(runs.keys("a", 25))[1] == ""


def test_missing_keys_are_told_in_order(runs):
    create(runs)
    commit(runs, *(entry(f"k{number}", 1.0) for number in range(0, 3000, 2)))
    asked = [f"k{number}" for number in range(2999, -1, -1)]
    assert ask(runs.missing("a", [*asked, "k1"])) == asked[::2]
    assert ask(runs.missing("a", [])) == []


def test_run_is_finished_with_its_keys(runs):
    create(runs)
    commit(runs, entry("k", 1.0), entry("l", 2.0, slice="x"))
    done = ask(runs.finish("a", ["l", "k", "k"], None))
    assert done.finished_at is not None
    assert list(done.slices) == ["x"]
    assert ask(runs.finish("a", None, 2)) == done
    with pytest.raises(RunIncompleteError):
        ask(runs.finish("a", None, 3))


def test_incomplete_run_tells_what_it_lacks(runs):
    create(runs)
    commit(runs, *(entry(f"k{number:03}", 1.0) for number in range(300)))
    expected = [f"k{number:03}" for number in range(200, 500)]
    with pytest.raises(RunIncompleteError) as refused:
        ask(runs.finish("a", expected, None))
    error = refused.value
    assert (error.missing, error.missing_count) == (expected[100:200], 200)
    assert (error.unexpected, error.unexpected_count) == ([f"k{number:03}" for number in range(100)], 200)
    assert str(error) == "run 'a' lacks 200 of the expected keys and has 200 that were not expected"
    with pytest.raises(RunIncompleteError, match="has 300 keys, expected 301") as refused:
        ask(runs.finish("a", None, 301))
    assert (refused.value.missing_count, refused.value.unexpected_count) == (1, 0)
    assert ask(runs.get("a")).finished_at is None


def test_finish_takes_what_the_creator_expected(runs):
    create(runs, expected_keys=1)
    create(runs, "b")
    with pytest.raises(RunIncompleteError, match=r"^run 'a' has 0 keys, expected 1$"):
        ask(runs.finish("a", None, None))
    commit(runs, entry("k", 1.0))
    assert ask(runs.finish("a", None, None)).finished_at
    with pytest.raises(FieldError, match="expected"):
        ask(runs.finish("b", None, None))


def test_empty_run_may_be_finished(runs):
    create(runs)
    assert ask(runs.finish("a", [], None)).finished_at


def test_deleted_run_is_gone(runs):
    create(runs)
    commit(runs, entry("k", 1.0))
    ask(runs.delete("a"))
    with pytest.raises(RunNotFoundError):
        ask(runs.get("a"))
    assert ask(runs.list(10)) == ([], "")
    assert isinstance(commit(runs, entry("k", 1.0))[0], RunNotFoundError)


@pytest.mark.parametrize("other", [{"digest": "e" * 64}, {"by_class": True}, {}], ids=["loss", "by_class", "finished"])
def test_run_that_another_server_created_anew_is_known_at_once(runs, place, other):
    create(runs)
    if not other:
        asyncio.run(runs.finish("a", None, 0))
    with opened(place) as elsewhere:
        with suppress(RunFinishedError):
            asyncio.run(elsewhere.check("a", DIGEST, by_class=False, key="k", slice=""))
        asyncio.run(runs.delete("a"))
        create(runs, **other)
        new = new_run(**other)
        asyncio.run(elsewhere.check("a", new.digest, by_class=new.by_class, key="k", slice=""))
