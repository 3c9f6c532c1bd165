"""The results of ``losswire eval`` for files of all kinds are PyTorch's results for their rows in float64."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch.nn import functional as F

RNG = np.random.default_rng(0)
LENGTHS = (3, 0, 1, 17, 12)
SEQUENCES = [RNG.standard_normal((length, 5), np.float32) for length in LENGTHS]
LABELS = [RNG.integers(5, size=length) for length in LENGTHS]
MASKS = [(RNG.random(length) < 0.7).astype(np.int64) for length in LENGTHS]
LABELS[3][[2, 7]] = -100


@pytest.fixture
def evaluated(losswire):
    def run(*arguments):
        result = losswire("eval", "--json", "--batch-rows", 4, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run


def truth(logits, labels, **options):
    return float(F.cross_entropy(torch.as_tensor(logits).double(), torch.as_tensor(labels), **options))


def as_hugging_face_does(sequences, labels, masks):
    """Each logit predicts the next label; labels of padding are ignored."""
    padded = [np.where(mask == 1, label, -100) for label, mask in zip(labels, masks, strict=True)]
    return np.concatenate([s[:-1] for s in sequences]), np.concatenate([label[1:] for label in padded])


@pytest.fixture
def ragged(tmp_path):
    columns = {"logits": [s.tolist() for s in SEQUENCES], "labels": LABELS, "attention_mask": MASKS}
    path = tmp_path / "tokens.parquet"
    parquet.write_table(
        pa.table(
            columns,
            pa.schema(
                [
                    ("logits", pa.list_(pa.list_(pa.float32()))),
                    *((name, pa.list_(pa.int64())) for name in ("labels", "attention_mask")),
                ]
            ),
        ),
        path,
    )
    return path


@pytest.mark.parametrize("more", [(), ("--per-class",), ("--weight", "balanced")])
def test_shift_and_mask_are_as_in_torch(more, evaluated, ragged):
    total = evaluated(ragged, "--shift", "--mask-name", "attention_mask", *more)["total"]
    logits, labels = as_hugging_face_does(SEQUENCES, LABELS, MASKS)
    counted = labels != -100
    weight = None
    if "balanced" in more:
        counts = np.bincount(labels[counted], minlength=5)
        weight = torch.from_numpy(counts.mean() / counts)
    assert total["loss"] == pytest.approx(truth(logits, labels, weight=weight), rel=1e-6)
    assert (total["row_count"], total["ignored_count"]) == (counted.sum(), (~counted).sum())
    assert total["accuracy"] == np.mean(logits[counted].argmax(1) == labels[counted])


def test_padding_may_be_ignored_by_its_label(evaluated, ragged):
    logits, labels = as_hugging_face_does(
        SEQUENCES, [np.where(y == -100, 3, y) for y in LABELS], [y * 0 + 1 for y in LABELS]
    )
    path = ragged.with_name("padded.parquet")
    table = parquet.read_table(ragged)
    parquet.write_table(table.set_column(1, "labels", pa.array([np.where(y == -100, 3, y) for y in LABELS])), path)
    total = evaluated(path, "--shift", "--ignore-index", 3)["total"]
    assert total["loss"] == pytest.approx(truth(logits, labels, ignore_index=3), rel=1e-6)
    assert (total["row_count"], total["ignored_count"]) == (np.sum(labels != 3), np.sum(labels == 3))


def test_masked_labels_may_be_anything(evaluated, tmp_path):
    logits, labels, mask = RNG.standard_normal((4, 6, 5)), RNG.integers(5, size=(4, 6)), RNG.integers(2, size=(4, 6))
    garbage = np.where(mask == 1, labels, 50257)
    np.savez(tmp_path / "a.npz", logits=logits, labels=garbage, mask=mask)
    total = evaluated(tmp_path / "a.npz", "--classes-last", "--mask-name", "mask")["total"]
    assert total["loss"] == pytest.approx(truth(logits[mask == 1], labels[mask == 1]), rel=1e-12)
    assert (total["row_count"], total["ignored_count"]) == (mask.sum(), 24 - mask.sum())


@pytest.mark.parametrize("shape", [(24,), (4, 6)])
def test_mask_of_elements_is_for_binary(shape, evaluated, tmp_path):
    scores, labels, mask = RNG.standard_normal(shape), RNG.integers(2, size=shape), RNG.integers(2, size=shape)
    np.savez(tmp_path / "a.npz", logits=scores, labels=labels, mask=mask)
    loss = "binary_cross_entropy_with_logits"
    total = evaluated(tmp_path / "a.npz", "--mask-name", "mask", "--loss", loss)["total"]
    kept = torch.from_numpy(scores)[mask == 1], torch.from_numpy(labels)[mask == 1].double()
    assert total["loss"] == pytest.approx(float(F.binary_cross_entropy_with_logits(*kept)), rel=1e-12)


def test_pairs_of_arrays_add_up(evaluated, tmp_path):
    logits, labels = RNG.standard_normal((21, 5)), RNG.integers(5, size=21)
    arguments = []
    for i, rows in enumerate((slice(9), slice(9, None))):
        np.save(tmp_path / f"logits{i}.npy", logits[rows])
        np.save(tmp_path / f"labels{i}.npy", labels[rows])
        arguments += [tmp_path / f"logits{i}.npy", "--target-file", tmp_path / f"labels{i}.npy"]
    said = evaluated(*arguments)
    assert said["total"]["loss"] == pytest.approx(truth(logits, labels), rel=1e-12)
    assert [each["row_count"] for each in said["files"]] == [9, 12]


def test_files_of_a_folder_add_up(evaluated, losswire, tmp_path):
    logits, labels = RNG.standard_normal((21, 5)), RNG.integers(5, size=21)
    for i, rows in enumerate((slice(9), slice(9, None))):
        np.savez(tmp_path / f"{i}.npz", logits=logits[rows], labels=labels[rows])
    said = evaluated(tmp_path)
    assert said["total"]["loss"] == pytest.approx(truth(logits, labels), rel=1e-12)
    assert [each["file"] for each in said["files"]] == [str(tmp_path / f"{i}.npz") for i in range(2)]
    (tmp_path / "1.npz").write_bytes(b"")
    result = losswire("eval", tmp_path)
    assert (result.exit_code, result.stderr) == (1, f"losswire: {tmp_path / '1.npz'}: is empty, expected a zip\n")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["--classes-last"], "row 2, position 4"),
        (["--shift"], "row 2, position 4"),
        (["--classes-last", "--mask-name", "mask"], "row 2, position 4"),
        (["--classes-last", "--batch-rows", 1], "row 2, position 4"),
    ],
)
def test_wrong_target_is_told_by_its_place(arguments, place, losswire, tmp_path):
    labels, mask = np.zeros((4, 6), int), np.ones((4, 6), bool)
    labels[2, 4] = 9
    mask[:2] = mask[2, 1] = False
    np.savez(tmp_path / "a.npz", logits=RNG.standard_normal((4, 6, 5)), labels=labels, mask=mask)
    result = losswire("eval", tmp_path / "a.npz", "--batch-rows", 4, *arguments)
    assert result.exit_code == 1
    assert result.stderr.endswith(f"got 9 at {place}\n")


def test_wrong_element_is_told_by_its_place(losswire, tmp_path):
    probs = np.full((9, 3), 0.5)
    probs[7, 2] = 1.5
    np.savez(tmp_path / "a.npz", probs=probs, labels=np.zeros((9, 3)))
    result = losswire("eval", tmp_path / "a.npz", "--loss", "binary_cross_entropy", "--batch-rows", 4)
    assert result.stderr.endswith("got 1.5 at row 7, position 2\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--target-file", "a.npz", "--target-file", "a.npz"],
            "--target-file: expected one for each of 1 files or one",
        ),
        (["--input-name", "a", "--input-columns", "a*"], "--input-columns: an input has a name or columns, not both"),
        (["--shift", "--loss", "binary_cross_entropy"], "--shift: binary_cross_entropy has no classes"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, words, losswire, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", logits=np.zeros((2, 3)), labels=[0, 1])
    result = losswire("eval", "a.npz", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
