"""``losswire runs export``."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf.json_format import ParseDict
from pyarrow import parquet

from losswire import v1
from losswire.exact_sums import ExactSums
from losswire_client import Run
from losswire_client.cli.runs import _files


def of_json(exact) -> ExactSums:
    return ExactSums.from_message(ParseDict(exact, v1.ExactSums()))


@pytest.fixture
def exported(losswire, tmp_path):
    """Exports a run to a file of that name."""

    def export(run, name, *options):
        result = losswire("runs", "export", run, tmp_path / name, *options)
        assert (result.exit_code, result.stderr, result.stdout) == (0, "", "")
        return tmp_path / name

    return export


def test_json_has_the_run_and_its_keys(exported, make):
    run = make("json", by_class=True, labels={"model": "7b"})
    said = json.loads(exported("json", "out.json").read_text())
    keys = list(run.keys())
    assert [each["key"] for each in said["keys"]] == [key.key for key in keys]
    assert [of_json(each["exact"]) for each in said["keys"]] == [key.sums for key in keys]
    assert [each["mean"] for each in said["keys"]] == [key.mean for key in keys]
    assert [each["slice"] for each in said["keys"]] == ["", "news", "code"]
    assert of_json(said["exact"]) == run.result().sums
    assert (said["labels"], said["key_count"], len(said["classes"])) == ({"model": "7b"}, 3, 4)


def test_parquet_is_the_table_of_keys(exported, make, monkeypatch):
    monkeypatch.setattr(_files, "TABLE_ROWS", 2)  # so that there are several tables
    run = make("parquet")
    path = exported("parquet", "out.parquet")
    table, keys = parquet.read_table(path), list(run.keys())
    assert table["key"].to_pylist() == [key.key for key in keys]
    assert table["mean"].to_pylist() == [key.mean for key in keys]
    assert table["committed"].to_pylist() == [key.committed for key in keys]
    assert table["accuracy"].to_pylist() == [key.accuracy for key in keys]
    exact = [ExactSums.from_message(v1.ExactSums.FromString(each)) for each in table["exact"].to_pylist()]
    assert sum(exact, ExactSums()) == run.result().sums
    said = json.loads(parquet.read_metadata(path).metadata[b"losswire.run"])
    assert (said["name"], said["mean"], of_json(said["exact"])) == ("parquet", run.result().mean, run.result().sums)


def test_run_without_keys_is_exported_too(exported, client):
    client.run("empty")
    assert json.loads(exported("empty", "empty.json").read_text())["keys"] == []
    assert parquet.read_table(exported("empty", "empty.parquet")).num_rows == 0


def test_format_may_be_told(exported, make):
    make("told")
    assert json.loads(exported("told", "run.txt", "--format", "json").read_text())["name"] == "told"


def test_json_goes_to_standard_output(losswire, make):
    make("stdout")
    assert json.loads(losswire("runs", "export", "stdout", "-").stdout)["name"] == "stdout"


def test_link_leads_to_the_new_file(exported, make, tmp_path):
    make("linked")
    (tmp_path / "kept.json").write_text("old")
    (tmp_path / "link.json").symlink_to("kept.json")
    exported("linked", "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "kept.json").read_text())["name"] == "linked"
    assert len(list(tmp_path.iterdir())) == 2


def test_pipe_is_written_and_stays(exported, make, tmp_path):
    make("piped")
    os.mkfifo(tmp_path / "pipe.json")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe.json").read_bytes)
        path = exported("piped", "pipe.json")
        assert json.loads(read.result(timeout=20))["name"] == "piped"
    assert path.is_fifo()


def test_file_of_a_like_name_stays(exported, make, tmp_path):
    make("like")
    (tmp_path / "out.json.part").write_text("another's")
    exported("like", "out.json")
    assert (tmp_path / "out.json.part").read_text() == "another's"


def test_full_disk_is_told_with_the_file(losswire, make):
    make("full")
    result = losswire("runs", "export", "full", "/dev/full", "--format", "json")
    assert (result.exit_code, result.stderr) == (1, "losswire: /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    ("name", "words"), [("run.csv", "expected a name that ends in .json, .parquet"), ("no/run.json", "no directory")]
)
def test_file_that_cannot_be_written_is_refused_before_the_work(name, words, losswire, tmp_path):
    result = losswire("runs", "export", "whatever", tmp_path / name, "--target", "localhost:1")
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_keys_that_are_not_the_totals_are_refused(losswire, make, tmp_path, monkeypatch):
    run = make("wrong")
    first, *others = list(run.keys())
    monkeypatch.setattr(Run, "keys", lambda _run: iter([first, first, *others[1:]]))
    result = losswire("runs", "export", "wrong", tmp_path / "out.json")
    assert result.exit_code == 1
    assert "wrong: the keys do not add up to its totals" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_keys_that_come_meanwhile_are_told(losswire, make, tmp_path, monkeypatch):
    run = make("meanwhile")
    first, *_ = list(run.keys())
    monkeypatch.setattr(Run, "keys", lambda _run: iter([first]))
    result = losswire("runs", "export", "meanwhile", tmp_path / "out.json")
    assert result.exit_code == 0
    assert "keys were added meanwhile: the file has 1 of 3" in result.stderr
