"""What ``losswire eval --run`` refuses, so that no row counts twice and none is left out unseen."""

import json
import shutil

import numpy as np
import pytest

from losswire_client import NotFoundError, Run, UnavailableError
from losswire_client._keys import _others
from tests.client.cli.evaluation.keyed.saved import ROWS, arrays, save
from tests.helpers import serving


def all_missing(_run, keys):
    """The answer to one who asked before anything counted."""
    return list(keys)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--block-rows", 7), "--block-rows: the run agreed has 10, got 7"),
        (("--slice-by", "file"), "--slice-by: the run agreed was created without it, got file"),
        (("--loss", "nll_loss"), "--loss: the run agreed has cross_entropy, got nll_loss"),
        (("--ignore-index", -1), "--ignore-index: the run agreed has -100, got -1"),
        (("--label-smoothing", 0.5), "--label-smoothing: the run agreed has 0.0, got 0.5"),
        (("--weight", "balanced"), "--weight: the run agreed has other weights"),
        (("--per-class",), "--per-class: the run agreed was created without it"),
        (("--label", "model=8b"), "--label: the run agreed has model=7b, got model=8b"),
        (("--label", "seed=1"), "--label: the run agreed was created without it, got seed=1"),
    ],
)
def test_other_option_than_the_run_s_is_refused(option, words, losswire, client, folder, refused):
    losswire("eval", folder, "--run", "agreed", "--block-rows", 10, "--label", "model=7b")
    before = client.get_run("agreed").result().sums
    code, line = refused(folder, "--run", "agreed", *option)
    assert (code, before) == (2, client.get_run("agreed").result().sums)
    assert words in line
    assert "leave it out" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--run", "r", "--batch-rows", 7), "of one evaluation are those of a key: choose them with --block-rows"),
        (("--run", "r", "--plot", "x.png"), "--plot: a run keeps sums, and no rows"),
        (("--run", "r", "--output", "x.csv"), "--output: a run keeps sums, and no rows"),
        (("--run", "r", "--bytes", 7), "--bytes: a run knows no bytes"),
        (("--run", "r", "--label", "model"), "--label: expected NAME=VALUE"),
        (("--run", "r", "--label", "block_rows=7"), "--label: expected NAME=VALUE"),
        (("--run", "a b"), "--run: expected 1 to 200 letters"),
        (("--block-rows", 7), "--block-rows: it needs --run"),
        (("--finish",), "--finish: it needs --run"),
        (("--slice-by", "file"), "--slice-by: it needs --run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words, folder, refused, monkeypatch):
    monkeypatch.chdir(folder)
    code, line = refused(folder, *options)
    assert code == 2
    assert words in line


def test_files_of_one_name_need_a_folder(added, refused, tmp_path):
    for name in ("en", "de"):
        save(tmp_path / name / "0.npz", 23, seed=len(name) + ord(name[0]))
    code, line = refused(tmp_path / "en", tmp_path / "de", "--run", "names")
    assert code == 2
    assert "both have the name 0.npz in keys" in line
    said = added("names", tmp_path / "en", tmp_path / "de", "--root", tmp_path)
    assert {file["name"] for file in said["files"]} == {"en/0.npz", "de/0.npz"}
    assert said["run"]["row_count"] == 46


@pytest.mark.parametrize("other", ["a.npz", "link.npz"])
def test_file_that_is_named_twice_is_refused(other, folder, refused, client):
    (folder / "link.npz").symlink_to("a.npz")
    code, line = refused(folder / "a.npz", folder / other, "--run", "twice")
    assert (code, f"{folder / other} are one file, whose rows would count twice" in line) == (2, True)
    assert list(client.runs("twice")) == []


def test_file_outside_the_folder_is_refused(folder, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    code, line = refused(folder / "a.npz", "--run", "outside", "--root", tmp_path / "empty")
    assert (code, "a.npz is not in" in line) == (2, True)


def test_other_file_of_a_name_is_refused(client, losswire, folder, refused):
    losswire("eval", folder, "--run", "anew", "--block-rows", 10)
    before = client.get_run("anew").result().sums
    save(folder / "b.npz", 40, seed=1)
    code, line = refused(folder, "--run", "anew")
    assert code == 1
    assert line.startswith(f"{folder / 'b.npz'}: the run anew has another file by the name of b.npz")
    assert client.get_run("anew").result().sums == before


@pytest.mark.parametrize("option", [("--wire-dtype", "bfloat16"), ("--shift",)])
def test_file_read_in_another_way_is_refused(option, losswire, folder, refused):
    losswire("eval", folder, "--run", "read", "--block-rows", 10)
    assert "or the same one read otherwise" in refused(folder, "--run", "read", *option)[1]


def test_file_that_counts_by_another_name_is_refused(losswire, folder, refused):
    losswire("eval", folder, "--run", "renamed", "--root", folder.parent)
    code, line = refused(folder / "a.npz", "--run", "renamed")
    assert code == 1
    assert "the run renamed has the same file by the name of val/a.npz, which would count twice as a.npz" in line


def test_many_keys_are_not_looked_through(losswire, folder, added, monkeypatch):
    losswire("eval", folder, "--run", "many", "--block-rows", 10)
    monkeypatch.setattr(_others, "MOST_KEYS", 7)
    monkeypatch.setattr(Run, "keys", None)
    assert added("many", folder / "a.npz")["other_key_count"] == 5


def test_block_with_other_numbers_is_named(losswire, folder, client, monkeypatch):
    losswire("eval", folder, "--run", "conflict", "--block-rows", 10)
    before = client.get_run("conflict").result().sums
    evaluate = Run.evaluate

    def evaluate_others(self, rows, target, **options):
        return evaluate(self, rows, (target + 1) % 5, **options)

    monkeypatch.setattr(Run, "missing", all_missing)
    monkeypatch.setattr(Run, "evaluate", evaluate_others)
    result = losswire("eval", folder / "b.npz", "--run", "conflict")
    assert result.exit_code == 1
    assert f"{folder / 'b.npz'}: rows " in result.stderr
    assert "count already, with other numbers: the file has changed, or servers of different versions" in result.stderr
    assert client.get_run("conflict").result().sums == before


def test_block_that_another_has_just_counted_counts_once(losswire, added, client, folder, monkeypatch):
    losswire("eval", folder, "--run", "once", "--block-rows", 10)
    before, missing = client.get_run("once").result().sums, Run.missing
    answers = iter([all_missing])
    monkeypatch.setattr(Run, "missing", lambda run, keys: next(answers, missing)(run, keys))
    said = added("once", folder)
    assert (said["added_key_count"], said["is_complete"]) == (0, True)
    assert client.get_run("once").result().sums == before


def test_failed_file_stops_no_other(losswire, folder):
    save(folder / "d.npz", 23, target=np.full(23, 9))
    (folder / "e.npz").write_bytes(b"PK\x03\x04")
    result = losswire("eval", folder, "--run", "failed", "--block-rows", 10, "--json", "--finish")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["run"]["row_count"], said["run"]["state"], said["missing_key_count"]) == (ROWS, "open", 3)
    assert [error["file"] for error in said["errors"]] == [str(folder / "e.npz"), str(folder / "d.npz"), "failed"]
    assert "the run is not finished, since it lacks keys" in result.stderr
    assert "d.npz: target: expected classes in [0, 5) or ignore_index -100, got 9 at row" in result.stderr


def test_no_file_makes_no_run(losswire, client, folder):
    (folder / "a.npz").write_bytes(b"PK\x03\x04")
    assert losswire("eval", folder / "a.npz", "--run", "never").exit_code == 1
    assert list(client.runs("never")) == []


def test_finished_run_has_exactly_these_files(added, refused, folder):
    assert added("finished", folder, "--finish")["run"]["state"] == "finished"
    assert added("finished", folder, "--finish")["run"]["state"] == "finished"
    code, line = refused(folder / "a.npz", "--run", "finished", "--finish")
    assert (code, line.partition(": b.npz@")[0]) == (1, "--finish: the run finished has keys of other files")
    save(folder / "d.npz", 5)
    assert refused(folder, "--run", "finished") == (1, "the run finished is finished, and lacks 1 keys of these files")


def test_losses_that_are_not_finite_may_fail(losswire, folder):
    logits = arrays(23)["logits"]
    logits[11] = np.nan
    save(folder / "a.npz", 23, logits=logits)
    result = losswire("eval", folder, "--run", "nan", "--fail-on-nonfinite")
    assert result.exit_code == 1
    assert "a.npz: 1 of 23 losses are NaN or infinite: row 11 is nan" in result.stderr
    assert "--fail-on-nonfinite: 1 losses of the run are NaN or infinite" in result.stderr


def test_run_of_others_is_refused(client, folder, refused):
    client.run("others")
    code, line = refused(folder, "--run", "others")
    assert (code, line.partition(": ")[2]) == (1, "it has no label block_rows, and no keys of files")
    client.get_run("others").evaluate(np.eye(3, dtype=np.float32), np.arange(3), key="shard-7")
    assert refused(folder, "--run", "others") == (code, line)
    client.run("labelled", labels={"block_rows": "all"})
    assert "its label block_rows is no number of rows: all" in refused(folder, "--run", "labelled")[1]


def test_run_that_another_has_just_created_is_joined(losswire, added, client, folder, monkeypatch):
    losswire("eval", folder / "a.npz", "--run", "raced", "--block-rows", 10)
    get_run, failures = type(client).get_run, iter([None])

    def not_yet(self, name, **options):
        if next(failures, 0) is None:
            return get_run(self, "nobody", **options)
        return get_run(self, name, **options)

    monkeypatch.setattr(type(client), "get_run", not_yet)
    said = added("raced", folder)
    assert (said["run"]["labels"]["block_rows"], said["run"]["row_count"]) == ("10", ROWS)


def test_interrupt_says_that_nothing_is_lost(losswire, folder, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "missing", interrupted)
        result = losswire("eval", folder, "--run", "interrupted", "--block-rows", 10)
    assert result.exit_code == 130
    assert "run interrupted: interrupted; what was acknowledged counts, and the same command goes" in result.stderr
    assert losswire("eval", folder, "--run", "interrupted", "--finish").exit_code == 0


def test_server_that_goes_away_loses_nothing(losswire, added, client, exact, folder, monkeypatch):
    evaluate, count = Run.evaluate, iter(range(3))

    def away(self, *arguments, **options):
        if next(count, None) is None:
            raise UnavailableError("no server can be reached")
        return evaluate(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "evaluate", away)
        result = losswire("eval", folder, "--run", "away", "--block-rows", 10)
    assert result.exit_code == 3
    assert result.stderr.startswith("losswire: run away: no server can be reached")
    assert result.stderr.endswith("what was acknowledged counts, and the same command goes on from there\n")
    assert added("away", folder)["found_key_count"] == 3
    assert client.get_run("away").result().sums == exact(*folder.iterdir())


def test_server_that_is_away_ends_it_at_once(refused, folder):
    code, line = refused(folder, "--run", "none", "--target", "localhost:1")
    assert (code, "no server can be reached" in line) == (3, True)


def test_server_without_runs_says_so(losswire, folder):
    with serving() as server:
        result = losswire("eval", folder, "--run", "none", "--target", f"127.0.0.1:{server.port}")
    assert result.exit_code == 1
    assert "this server keeps no runs; it was not told where, by --runs" in result.stderr


def test_name_that_is_no_text_is_refused(folder, refused):
    shutil.copy(folder / "a.npz", folder / "a\n.npz")
    assert "control characters" in refused(folder / "a\n.npz", "--run", "text")[1]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("a\nb", "expected no control characters"), ("x" * 600, "expected at most 512 bytes of UTF-8")],
)
def test_names_of_slices_that_fit_no_key_are_refused(client, refused, tmp_path, name, problem):
    path = save(tmp_path / "odd.npz", 4, domain=np.array([name] * 4))
    code, line = refused(path, "--run", "odd-slices", "--slice-by", "domain")
    assert (code, line.startswith(f"{path}: its keys and slices: {problem}")) == (1, True)
    with pytest.raises(NotFoundError):  # no run is left behind that nothing could be added to
        client.get_run("odd-slices")
