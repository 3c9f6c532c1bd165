"""Slices of runs: by file, by folder, by an array."""

import numpy as np
import pytest

from losswire_client import Run
from tests.client.cli.evaluation.keyed.saved import FILES, arrays, save
from tests.client.cli.files import write

DOMAINS = np.array(["news", "code", "law"])


@pytest.fixture
def domains(tmp_path):
    """A file whose rows are of different domains, of which not every block has all."""
    chosen = DOMAINS[np.minimum(2, np.arange(40) // 9)]
    return save(tmp_path / "domains.npz", 40, domain=chosen, year=np.arange(40) // 20 + 2020), chosen


def slices(said):
    return {each["slice"]: each for each in said["run"]["slices"]}


def test_each_file_is_a_slice(added, exact, folder):
    found = slices(added("files", folder, "--slice-by", "file", "--block-rows", 10))
    assert {name: each["row_count"] for name, each in found.items()} == FILES
    assert found["b.npz"]["mean"] == exact(folder / "b.npz").statistics.mean


def test_each_folder_is_a_slice(added, exact, tmp_path):
    for name in ("en", "de"):
        save(tmp_path / name / "0.npz", 23, seed=len(name))
        save(tmp_path / name / "1.npz", 11, seed=ord(name[0]))
    said = added("folders", tmp_path / "en", tmp_path / "de", "--slice-by", "folder", "--root", tmp_path)
    assert {name: each["row_count"] for name, each in slices(said).items()} == {"de": 34, "en": 34}
    assert slices(said)["en"]["mean"] == exact(*(tmp_path / "en").iterdir()).statistics.mean


def test_rows_are_in_the_slice_that_an_array_names(added, client, exact, domains):
    path, chosen = domains
    said = added("array", path, "--slice-by", "domain", "--block-rows", 7)
    rows = arrays(40)
    for name in DOMAINS:
        part = client.cross_entropy(rows["logits"][chosen == name], rows["target"][chosen == name], exact=True).exact
        assert client.get_run("array").result().by_slice[name].sums.is_same(part)
    assert client.get_run("array").result().sums == exact(path)
    keys = [key.key.rsplit(":", 2)[1:] for key in client.get_run("array").keys()]  # noqa: SIM118 - of the server
    assert sorted(row for row, name in keys if name == "code") == ["14", "7"]
    assert said["is_complete"]


def test_numbers_name_slices_as_they_are_written(added, domains):
    assert slices(added("years", domains[0], "--slice-by", "year")).keys() == {"2020", "2021"}


def test_numbers_that_are_not_finite_name_slices_too(added, tmp_path):
    path = save(tmp_path / "odd.npz", 4, odd=np.array([np.inf, -np.inf, np.nan, 1.0]))
    assert slices(added("odd", path, "--slice-by", "odd")).keys() == {"1", "-inf", "inf", "nan"}


def test_slices_of_sequences_are_those_of_their_rows(added, tmp_path):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((5, 6, 4), np.float32), rng.integers(4, size=(5, 6))
    np.savez(tmp_path / "tokens.npz", logits=logits, labels=labels, domain=["a", "b", "a", "b", "b"])
    said = added("sequences", tmp_path / "tokens.npz", "--shift", "--slice-by", "domain", "--block-rows", 2)
    assert {name: each["row_count"] for name, each in slices(said).items()} == {"a": 10, "b": 15}


def test_slices_of_tables_are_text(added, tmp_path):
    path = write(tmp_path, "columns.parquet", {**arrays(23), "domain": np.array(["x", "y"] * 11 + ["x"])})
    assert slices(added("table", path, "--slice-by", "domain", "--block-rows", 7)).keys() == {"x", "y"}


def test_only_slices_that_are_missing_are_sent(added, client, domains, monkeypatch):
    path, _ = domains
    added("resumed", path, "--slice-by", "domain", "--block-rows", 7)
    whole = client.get_run("resumed").result().sums
    client.get_run("resumed").delete()
    sent, evaluate = [], Run.evaluate

    def evaluate_some(self, *arguments, key, **options):
        sent.append(key)
        return evaluate(self, *arguments, key=key, **options)

    monkeypatch.setattr(Run, "evaluate", evaluate_some)
    run = client.run("resumed", labels={"block_rows": "7", "slice_by": "domain"})
    rows = arrays(40)
    code = np.arange(9, 14)  # of the block of rows 7 to 13
    fingerprint = added("other", path, "--slice-by", "domain")["files"][0]["fingerprint"]
    key = f"domains.npz@{fingerprint}:7:code"
    run.evaluate(rows["logits"][code], rows["target"][code], key=key, slice="code")
    sent.clear()
    assert added("resumed", path)["found_key_count"] == 1
    assert key not in sent
    assert run.result().sums == whole


def test_slices_that_are_no_array_are_refused(refused, domains):
    code, line = refused(domains[0], "--run", "none", "--slice-by", "nowhere")
    assert code == 1
    assert "has no array named nowhere" in line
    assert line.endswith("choose with --slice-by")
