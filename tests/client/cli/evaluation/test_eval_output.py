"""The loss of each row goes to a file."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch.nn import functional as F

from tests.client.cli.files import write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((60, 5, 2), np.float32) * 2
TARGET = RNG.integers(5, size=(60, 2))
TARGET[7, 1] = -100
LOSSES = F.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(TARGET), reduction="none").numpy()
IN_CHUNKS = ("--batch-rows", 25)


def read(path):
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    with path.open() as file:
        lines = list(csv.DictReader(file))
    return [{name: _value(name, text) for name, text in line.items()} for line in lines]


def _value(name, text):
    return text if name == "file" else float(text) if text else None


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("classes_last", [False, True])
def test_table_has_a_line_a_loss(suffix, classes_last, losswire, tmp_path):
    logits = np.ascontiguousarray(np.moveaxis(LOGITS, 1, 2)) if classes_last else LOGITS
    path, output = write(tmp_path, "npz", {"logits": logits, "target": TARGET}), tmp_path / f"rows.{suffix}"
    result = losswire("eval", path, "--output", output, *IN_CHUNKS, *["--classes-last"] * classes_last)
    assert result.exit_code == 0, result.stderr
    lines = read(output)
    places = [place for place in np.ndindex(60, 2) if place != (7, 1)]
    assert [(line["row"], line["position"]) for line in lines] == places
    assert list(lines[0]) == ["file", "row", "position", "target", "prediction", "loss"]
    for line, place in zip(lines, places, strict=True):
        assert (line["file"], line["target"]) == (str(path), TARGET[place])
        assert line["prediction"] == LOGITS[place[0], :, place[1]].argmax()
        assert line["loss"] == pytest.approx(LOSSES[place], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_table_has_the_rows_of_all_files(suffix, losswire, tmp_path):
    paths, output = [tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / f"rows.{suffix}"
    for path in paths:
        np.savez(path, logits=LOGITS[:3, 0], target=RNG.random((3, 2)).astype(np.float32))
    assert losswire("eval", *paths, "--output", output).exit_code == 0
    lines = read(output)
    assert [(line["file"], line["row"]) for line in lines] == [(str(path), i) for path in paths for i in range(3)]
    assert {(line["position"], line["target"]) for line in lines} == {(None, None)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_has_the_shape_of_the_losses(dtype, losswire, tmp_path):
    path, output = write(tmp_path, "npz", {"logits": LOGITS.astype(dtype), "target": TARGET}), tmp_path / "rows.npy"
    assert losswire("eval", path, "--output", output, *IN_CHUNKS).exit_code == 0
    losses = np.load(output)
    assert losses.dtype == dtype
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5, atol=1e-6)


def test_array_of_no_rows_is_empty(losswire, tmp_path):
    path, output = write(tmp_path, "npz", {"logits": LOGITS[:0], "target": TARGET[:0]}), tmp_path / "rows.npy"
    assert losswire("eval", path, "--output", output).exit_code == 0
    assert np.load(output).size == 0


def test_array_is_of_one_file(losswire, tmp_path):
    path = write(tmp_path, "npz", {"logits": LOGITS, "target": TARGET})
    result = losswire("eval", path, path, "--output", tmp_path / "rows.npy")
    assert result.exit_code == 2
    assert "--output: of several files, .csv and .parquet tell" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npy"])
def test_failure_leaves_the_old_output(suffix, losswire, tmp_path):
    target = TARGET.copy()
    target[59] = 9
    path, output = write(tmp_path, "npz", {"logits": LOGITS, "target": target}), tmp_path / f"out.{suffix}"
    output.write_text("old")
    assert losswire("eval", path, "--output", output, *IN_CHUNKS).exit_code == 1
    assert output.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted([path, output])


def test_results_are_written_as_printed(losswire, tmp_path):
    path, output = write(tmp_path, "npz", {"logits": LOGITS, "target": TARGET}), tmp_path / "results.json"
    printed = losswire("eval", path, "--output", output, "--json").stdout
    assert json.loads(output.read_text()) == json.loads(printed)
    assert "accuracy" in losswire("eval", path, "--output", output).stdout


@pytest.mark.parametrize("shift", [False, True])
def test_losses_lie_where_their_logits_do(shift, losswire, tmp_path):
    """Also if a shift or a mask leaves rows out."""
    logits, labels = np.moveaxis(LOGITS.reshape(30, 2, 5, 2), 2, 3).reshape(30, 4, 5), RNG.integers(5, size=(30, 4))
    mask = RNG.integers(2, size=(30, 4))
    mask[25:] = 0
    path = write(tmp_path, "npz", {"logits": logits, "labels": labels, "mask": mask})
    arguments = ("--mask-name", "mask", "--shift" if shift else "--classes-last", "--batch-rows", 7)
    for suffix in ("csv", "npy"):
        assert losswire("eval", path, "--output", tmp_path / f"rows.{suffix}", *arguments).exit_code == 0
    losses = -torch.from_numpy(logits).log_softmax(-1).numpy()
    expected = np.zeros((30, 4), np.float32)
    for row, position in np.argwhere(mask):
        if position >= shift:
            expected[row, position - shift] = losses[row, position - shift, labels[row, position]]
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), expected, rtol=1e-5, atol=1e-6)
    lines = read(tmp_path / "rows.csv")
    found = np.zeros_like(expected)
    for line in lines:
        found[int(line["row"]), int(line["position"])] = line["loss"]
    assert len(lines) == mask[:, shift:].sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_ragged_rows_need_a_table(losswire, tmp_path):
    lengths = [3, 1, 2]
    rows = {"logits": [LOGITS[:n, :, 0].tolist() for n in lengths], "labels": [TARGET[:n, 0].tolist() for n in lengths]}
    parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    refused = losswire("eval", tmp_path / "rows.parquet", "--output", tmp_path / "out.npy")
    assert refused.exit_code == 2
    assert "rows of different lengths make no array" in refused.stderr
    assert losswire("eval", tmp_path / "rows.parquet", "--output", tmp_path / "out.csv").exit_code == 0
    lines = [(line["row"], line["position"]) for line in read(tmp_path / "out.csv")]
    assert lines == [(row, position) for row, n in enumerate(lengths) for position in range(n)]
