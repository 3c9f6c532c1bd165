import csv
import math

import matplotlib.image
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.client.cli.comparison.twin import truth

RNG = np.random.default_rng(1)
A = RNG.standard_normal((57, 9), np.float32) * 2
B = A + RNG.standard_normal((57, 9), np.float32) * 0.3
LABELS = RNG.integers(9, size=57)
LABELS[[4, 56]] = -100
KEPT = np.flatnonzero(LABELS != -100)
TRUE = truth(A[KEPT], B[KEPT], LABELS[KEPT])


def files(folder, **more):
    np.savez(folder / "a.npz", logits=A, labels=LABELS)
    np.savez(folder / "b.npz", logits=B, **more)
    return folder / "a.npz", folder / "b.npz"


def cells(table):
    """The texts of a table, by the heading of their line."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]
    return {line[0]: line[1:] for line in lines}


def test_table_tells_numbers_with_their_errors(losswire, tmp_path):
    result = losswire("compare", *files(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    found = cells(result.stdout)
    mean, error = found["mean"]
    assert float(mean) == pytest.approx(TRUE.losses.mean(), rel=1e-5)
    assert float(error) == pytest.approx(np.std(TRUE.losses, ddof=1) / math.sqrt(55), rel=5e-3)
    assert found["maximum"] == [f"{TRUE.losses.max():#.4g}", ""]
    assert float(found["99 %"][0]) == pytest.approx(np.quantile(TRUE.losses, 0.99, method="lower"), rel=0.011)
    assert float(found["perplexity of A"][0]) == pytest.approx(np.exp(-TRUE.reference.mean()), rel=1e-4)
    assert found["same top class"][0] == f"{TRUE.same_top.mean():.3%}"
    assert found["same top class"][1].endswith("%")
    assert (found["rows"], found["ignored"]) == (["55", ""], ["2", ""])
    assert "forward divergence of B from A, in nats" in result.stdout
    assert "quantiles are within 1 %; the maximum is exact" in result.stdout
    assert "NaN or infinite" not in found


def test_several_files_have_a_line_each(losswire, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # so that names of files are not folded
    for name, logits in (("a", A), ("b", B)):
        (tmp_path / name).mkdir()
        for i in range(2):
            np.savez(tmp_path / name / f"{i}.npz", logits=logits[i::2])
    result = losswire("compare", "a", "b", "--divergence", "jensen-shannon", "--beta", 0.3)
    found = cells(result.stdout)
    other, mean, *_, rows = found["a/1.npz"]
    assert (other, rows, found["rows"]) == ("b/1.npz", "28", ["57", ""])
    assert float(mean) == pytest.approx(divergence_of(A[1::2], B[1::2]), rel=1e-4)
    assert "jensen-shannon divergence of B from A, in nats, beta 0.3" in result.stdout


def divergence_of(a, b):
    return truth(a, b, kind="jensen_shannon", beta=0.3).losses.mean()


def test_a_file_that_fails_leaves_no_total(losswire, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, logits in (("a", A), ("b", B)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "0.npz", logits=logits)
        np.savez(tmp_path / name / "1.npz", logits=logits[: 7 if name == "b" else 8])
    result = losswire("compare", "a", "b", "--output", "rows.csv")
    assert result.exit_code == 1
    assert result.stderr == "losswire: a/1.npz: logits has 8 rows, and logits of b/1.npz has 7\n"
    assert "a/0.npz" in result.stdout
    assert "within 1 %" not in result.stdout
    assert [*tmp_path.glob("rows*")] == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_are_written_with_their_numbers(suffix, losswire, tmp_path):
    a, b = files(tmp_path)
    output = tmp_path / f"rows{suffix}"
    assert losswire("compare", a, b, "--output", output, "--batch-rows", 20).exit_code == 0
    if suffix == ".csv":
        with output.open() as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pq.read_table(output).to_pylist()
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "file"}
    assert {row["file"] for row in rows} == {str(b)}
    np.testing.assert_array_equal(columns["row"], KEPT)
    np.testing.assert_array_equal(columns["label"], LABELS[KEPT])
    np.testing.assert_array_equal(columns["prediction"], B[KEPT].argmax(1))
    np.testing.assert_allclose(columns["divergence"], TRUE.losses, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(columns["log_probability"], TRUE.candidate, rtol=1e-5)
    np.testing.assert_allclose(columns["change"], TRUE.candidate - TRUE.reference, atol=2e-6)


def test_divergences_are_written_as_an_array(losswire, tmp_path):
    a, b = files(tmp_path)
    assert losswire("compare", a, b, "--output", tmp_path / "rows.npy", "--batch-rows", 20).exit_code == 0
    found = np.load(tmp_path / "rows.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[KEPT], TRUE.losses, rtol=1e-3, atol=1e-6)
    assert found.shape == (57,)
    assert not found[4]


@pytest.mark.parametrize("batch_rows", [4, 50])
def test_array_ends_with_the_file_where_the_last_rows_do_not_count(batch_rows, losswire, tmp_path):
    a, b = files(tmp_path)
    np.savez(a, logits=A.reshape(3, 19, 9), labels=LABELS.reshape(3, 19), attention_mask=[[1] * 19] * 2 + [[0] * 19])
    np.savez(b, logits=B.reshape(3, 19, 9))
    options = "--shift", "--mask-name", "attention_mask", "--batch-rows", batch_rows
    assert losswire("compare", a, b, *options, "--output", tmp_path / "rows.npy").exit_code == 0
    found = np.load(tmp_path / "rows.npy").reshape(3, 19)
    assert found[0, 0] != 0
    assert not found[:, -1].any()
    assert not found[2].any()


def test_results_are_written_as_json(losswire, tmp_path):
    a, b = files(tmp_path)
    result = losswire("compare", a, b, "--json", "--output", tmp_path / "result.json")
    assert result.stdout.strip() == (tmp_path / "result.json").read_text().strip()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("labels", [True, False])
def test_picture_is_drawn(suffix, labels, losswire, tmp_path):
    a, b = files(tmp_path)
    if not labels:
        np.savez(a, logits=A)
    plot = tmp_path / f"kl{suffix}"
    result = losswire("compare", a, b, "--plot", plot)
    assert (result.exit_code, result.stderr) == (0, "")
    if suffix == ".png":
        height, width, _ = matplotlib.image.imread(plot).shape
        assert (width > 2 * height) == labels
    if suffix == ".svg":
        assert ("change of the labels' log-probabilities" in plot.read_text()) == labels
    assert plot.stat().st_size > 4000


def test_picture_of_rows_that_do_not_differ_is_drawn(losswire, tmp_path):
    a, _ = files(tmp_path)
    result = losswire("compare", a, a, "--plot", tmp_path / "kl.svg")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "55 at most 1e-12" in (tmp_path / "kl.svg").read_text()


def test_picture_of_no_rows_is_drawn(losswire, tmp_path):
    np.savez(tmp_path / "none.npz", logits=A[:0])
    result = losswire("compare", *2 * [tmp_path / "none.npz"], "--plot", tmp_path / "kl.svg")
    assert (result.exit_code, result.stderr) == (0, "")
    found = cells(result.stdout)
    assert {found[name][0] for name in ("mean", "median", "99.9 %", "maximum")} == {"nan"}
    assert found["rows"] == ["0", ""]
    assert "no rows" in (tmp_path / "kl.svg").read_text()


def test_maximum_of_divergences_that_are_all_nan_is_none(losswire, tmp_path):
    a, b = files(tmp_path)
    np.savez(b, logits=np.full_like(B, np.nan))
    assert cells(losswire("compare", a, b).stdout)["maximum"] == ["nan", ""]


@pytest.mark.parametrize(
    ("arrays", "options", "told"),
    [
        ({"top_logprobs": A[:, :3]}, ["--tail", "one-bin"], "top_logprobs of A: expected log-probabilities of some"),
        ({"top_logprobs": A[:, :3]}, ["--tail", "renormalize"], None),
        ({"scores": np.exp(A) / np.exp(A).sum(1, keepdims=True)}, [], "scores of A: expected logits, got numbers that"),
    ],
)
def test_numbers_that_are_hardly_meant_are_warned_of(arrays, options, told, losswire, tmp_path):
    _, b = files(tmp_path)
    np.savez(tmp_path / "some.npz", **arrays, top_classes=np.tile(np.arange(3), (57, 1)))
    result = losswire("compare", tmp_path / "some.npz", b, *options, "--batch-rows", 20)
    assert result.exit_code == 0
    assert (told is None) == ("warning" not in result.stderr)
    assert told is None or f"warning: {tmp_path / 'some.npz'} and {b}: {told}" in result.stderr
