"""``losswire runs`` list, show, finish and rm."""

import json
import sys

import numpy as np
import pytest

from losswire_client import NotFoundError
from tests.helpers import serving

COMMANDS = ("list", "show", "watch", "finish", "export", "rm")


def lines(result):
    assert (result.exit_code, result.stderr) == (0, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


@pytest.fixture
def at_a_terminal(monkeypatch):
    monkeypatch.setattr("losswire_client.cli.runs.rm.is_terminal", lambda: True)


def test_help_lists_the_commands(losswire):
    result = losswire("runs")
    assert result.exit_code == 2
    assert all(f"│ {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_option(losswire, command):
    result = losswire("runs", command, "--help", COLUMNS="200", TERMINAL_WIDTH="200")
    options = [text for text in result.stdout.splitlines() if text.startswith("│ --")]
    assert result.exit_code == 0
    assert all(len(text.strip("│ ").split("  ")) > 1 for text in options)


def test_list_has_the_newest_first(losswire, make):
    make("listed.a", expected_keys=3, labels={"model": "7b"})
    make("listed.b", labels={"model": "8b"})
    rows = [line for line in lines(losswire("runs", "list", "listed.")) if line.startswith("│")]
    assert [row.split(" │ ")[0] for row in rows] == ["│ listed.b", "│ listed.a"]
    assert "│ listed.a │ open │ 3 of 3 │ 30 │ " in rows[1]
    assert rows[1].endswith("│ model=7b │")
    assert len(json.loads(losswire("runs", "list", "listed.", "--limit", 1, "--json").stdout)) == 1


def test_list_of_nothing_says_so(losswire):
    assert lines(losswire("runs", "list", "nothing.")) == ["there is no run whose name begins with nothing."]
    assert json.loads(losswire("runs", "list", "nothing.", "--json").stdout) == []


def test_show_has_the_numbers_and_what_they_are_of(losswire, make):
    run = make("shown", by_class=True, labels={"model": "7b"}, weight=np.arange(1.0, 5.0))
    shown = lines(losswire("runs", "show", "shown"))
    assert shown[0] == "run shown (cross_entropy), open, 3 keys"
    result = run.result()
    assert f"│ news │ 1 │ {result.by_slice['news'].mean:#.6g} │" in " ".join(shown)
    assert f"│ all │ 3 │ {result.mean:#.6g} │" in " ".join(shown)
    assert "│ 3 │" in shown[-6]  # the last class
    assert "options: ignore_index=-100, label_smoothing=0.0, weight=[1.0, 2.0, 3.0, 4.0], z_loss=0.0" in shown
    assert "labels: model=7b" in shown
    assert shown[-1] == f"digest of the loss and its options: {run.digest}"


def test_list_in_a_narrow_terminal_has_whole_names(losswire, make, monkeypatch):
    make("narrow/step-4000", expected_keys=3, labels={"model": "7b", "note": "of a night in November"})
    monkeypatch.setattr("losswire_client.cli._output.PIPE_WIDTH", 80)
    *_, row, _, told = lines(losswire("runs", "list", "narrow/"))
    assert row.startswith("│ narrow/step-4000 │ open │ 3 of 3 │ 30 │ ")
    assert told == "no room for labels; --json has all"


@pytest.mark.parametrize("width", [36, 60])
def test_show_in_a_narrow_terminal_has_whole_numbers(width, losswire, make, monkeypatch):
    result = make("narrow.shown", labels={"model": "7b"}).result()
    monkeypatch.setattr("losswire_client.cli._output.PIPE_WIDTH", width)
    shown = " ".join(lines(losswire("runs", "show", "narrow.shown")))
    assert f"│ {result.mean:#.6g} │" in shown
    assert "no room for " in shown


def test_show_has_slices_with_and_without_an_accuracy(losswire, client):
    for name, accuracy in (("with", True), ("without", False)):
        client.run("accuracies", accuracy=accuracy).cross_entropy(np.eye(4), np.arange(4), key=name, slice=name)
    rows = {row.split(" │ ")[0]: row for row in lines(losswire("runs", "show", "accuracies")) if row.startswith("│")}
    assert "│ 100.00% │" in rows["│ with"]
    assert "│ - │" in rows["│ without"]


def test_show_as_json_has_all_numbers(losswire, make):
    result = make("json", by_class=True).result()
    said = json.loads(losswire("runs", "show", "json", "--json").stdout)
    assert (said["mean"], said["standard_error"]) == (result.mean, result.standard_error)
    assert [each["slice"] for each in said["slices"]] == ["code", "news"]
    assert [each["mean"] for each in said["classes"]] == [result.by_class[i].mean for i in range(4)]
    assert (said["state"], said["finished"], said["expected_keys"]) == ("open", None, None)


def test_finish_takes_what_the_creator_noted(losswire, make):
    make("noted", expected_keys=3)
    (line,) = lines(losswire("runs", "finish", "noted"))
    assert line.startswith("noted: finished 20")
    assert "UTC, 3 of 3 keys, 30 rows, mean loss " in line


def test_finish_takes_a_number_or_the_keys(losswire, make, tmp_path):
    make("number")
    assert json.loads(losswire("runs", "finish", "number", "--count", 3, "--json").stdout)[0]["state"] == "finished"
    make("keys")
    (tmp_path / "keys.txt").write_text("part-0\npart-1\npart-2\n")
    assert losswire("runs", "finish", "keys", "--keys", tmp_path / "keys.txt").exit_code == 0
    make("stdin")
    assert losswire("runs", "finish", "stdin", "--keys", "-", answer="part-0\npart-1\npart-2\n").exit_code == 0


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_finish_takes_each_line_of_a_text_as_a_key(mark, end, losswire, client, tmp_path):
    keys = ["a\u2028b", "c d ", "é"]
    run = client.run(f"lines{len(mark)}")
    for key in keys:
        run.evaluate([[0.0, 1.0]], [1], key=key)
    (tmp_path / "keys.txt").write_bytes((mark + end.join(keys) + end).encode())
    assert losswire("runs", "finish", run.name, "--keys", tmp_path / "keys.txt").exit_code == 0


def test_finish_refuses_keys_that_are_no_text(losswire, make, tmp_path):
    make("binary")
    (tmp_path / "keys.bin").write_bytes(b"\xff\xfe")
    result = losswire("runs", "finish", "binary", "--keys", tmp_path / "keys.bin")
    assert (result.exit_code, "keys.bin: expected text in UTF-8" in result.stderr) == (2, True)


def test_finish_says_how_to_expect_a_number(losswire, make):
    make("unnoted")
    (line,) = losswire("runs", "finish", "unnoted").stderr.splitlines()
    assert line == "losswire: run 'unnoted' was created without the number of its keys: expected --count or --keys"


def test_finish_says_how_to_expect_another_number(losswire, make):
    make("fewer", expected_keys=2)
    (line,) = losswire("runs", "finish", "fewer").stderr.splitlines()
    told = "losswire: run 'fewer' has 3 keys, expected 2, which was noted: --count or --keys say it anew"
    assert line == told
    (line,) = lines(losswire("runs", "finish", "fewer", "--count", 3))
    assert "UTC, 3 keys, 30 rows" in line


def test_finish_finishes_several(losswire, make, client):
    for name in ("several.a", "several.b"):
        make(name, expected_keys=3)
    assert len(lines(losswire("runs", "finish", "several.a", "several.b"))) == 2
    assert all(run.is_finished for run in client.runs("several."))


def test_finish_names_what_is_missing(losswire, make, tmp_path, client):
    make("lacking")
    (tmp_path / "keys.txt").write_text("part-0\npart-9\n")
    result = losswire("runs", "finish", "lacking", "--keys", tmp_path / "keys.txt")
    assert result.exit_code == 1
    assert result.stderr.endswith("; missing: 'part-9'; unexpected: 'part-1', 'part-2'\n")
    assert not client.get_run("lacking").progress().is_finished


@pytest.mark.parametrize("options", [("a", "b", "--count", 3), ("a", "--count", 3, "--keys", "/dev/null")])
def test_finish_refuses_what_does_not_go_together(losswire, options):
    assert losswire("runs", "finish", *options).exit_code == 2


def test_rm_deletes_several_and_names_those_that_are_not_there(losswire, make, client):
    for name in ("gone.a", "gone.b"):
        make(name)
    result = losswire("runs", "rm", "gone.a", "nowhere", "gone.b", "--yes")
    assert (result.exit_code, result.stdout) == (1, "deleted gone.a\ndeleted gone.b\n")
    assert result.stderr == "losswire: there is no run 'nowhere'\n"
    assert list(client.runs("gone.")) == []


def test_rm_asks_nobody_who_is_not_there(losswire, make, client):
    make("kept")
    result = losswire("runs", "rm", "kept")
    assert (result.exit_code, "--yes" in result.stderr) == (2, True)
    assert client.get_run("kept").progress().key_count == 3


@pytest.mark.parametrize(("answer", "is_there"), [("y\n", False), ("n\n", True)])
def test_rm_asks_at_a_terminal(answer, is_there, losswire, make, client, at_a_terminal):  # noqa: ARG001
    make("asked")
    result = losswire("runs", "rm", "asked", answer=answer)
    assert result.exit_code == 0
    assert "Delete asked (open, 3 keys, 30 rows)? [y/N]:" in result.stdout
    if is_there:
        client.get_run("asked").delete()
    with pytest.raises(NotFoundError):
        client.get_run("asked")


@pytest.mark.parametrize("arguments", [("show", "no"), ("watch", "no"), ("finish", "no"), ("export", "no", "-")])
def test_run_that_is_not_there_is_told_in_a_line(losswire, arguments):
    result = losswire("runs", *arguments)
    assert (result.exit_code, result.stderr) == (1, "losswire: there is no run 'no'\n")


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "a"), ("watch", "a"), ("export", "a", "-"), ("rm", "a", "-y")]
)
def test_server_that_is_away_ends_a_command_at_once(losswire, arguments):
    result = losswire("runs", *arguments, "--target", "localhost:1")
    assert result.exit_code == 3
    assert result.stderr.startswith("losswire: no server can be reached at localhost:1")


def test_server_without_runs_is_told_in_a_line(losswire):
    with serving() as server:
        result = losswire("runs", "list", "--target", f"127.0.0.1:{server.port}")
    assert result.exit_code == 1
    assert "this server keeps no runs; it was not told where, by --runs" in result.stderr


def test_no_command_loads_what_only_export_needs(losswire, make, monkeypatch):
    make("light")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert losswire("runs", "show", "light").exit_code == 0
    result = losswire("runs", "export", "light", "light.parquet")
    assert (result.exit_code, "pyarrow is not installed" in result.stderr) == (2, True)
