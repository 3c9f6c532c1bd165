import json
from typing import Any

import numpy as np
import pytest

from losswire_client import Client, OverloadedError, UnavailableError

LOGITS = np.random.default_rng(0).standard_normal((50, 4), np.float32)
TARGET = np.arange(50) % 4


@pytest.fixture
def file(tmp_path):
    def save(name, **arrays):
        all_arrays: dict[str, Any] = {"logits": LOGITS, "target": TARGET} | arrays
        np.savez(tmp_path / name, **all_arrays)
        return tmp_path / name

    return save


def test_failed_file_leaves_no_total(losswire, file):
    wrong = file("wrong.npz", target=TARGET[:-1])
    result = losswire("eval", file("a.npz"), wrong, file("b.npz"))
    assert result.exit_code == 1
    assert result.stderr == f"losswire: {wrong}: logits has 50 rows, and target has 49\n"
    assert ("a.npz" in result.stdout, "b.npz" in result.stdout, " all " in result.stdout) == (True, True, False)


def test_json_names_the_files_that_failed(losswire, file):
    wrong = file("wrong.npz", target=TARGET[:-1])
    result = losswire("eval", wrong, file("b.npz"), "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (len(said["files"]), said["total"]) == (1, None)
    assert said["errors"] == [{"file": str(wrong), "error": f"{wrong}: logits has 50 rows, and target has 49"}]


def test_refusal_names_the_file_and_the_row(losswire, file):
    target = TARGET.copy()
    target[33] = 9
    path = file("wrong.npz", target=target)
    result = losswire("eval", path, "--batch-rows", 20)
    assert result.exit_code == 1
    assert f"{path}: target: expected classes in [0, 4)" in result.stderr
    assert "got 9 at row 33" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("label", [-1, 255])
def test_label_for_nothing_names_the_option(losswire, file, label):
    target = TARGET.copy()
    target[33] = label
    result = losswire("eval", file("wrong.npz", target=target))
    assert f"got {label} at row 33; if rows with it are to be ignored, pass --ignore-index {label}\n" in result.stderr


def test_server_that_is_away_ends_it_at_once(losswire, file):
    result = losswire("eval", file("a.npz"), file("b.npz"), "--target", "localhost:1", "--timeout", 2)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert "no server can be reached at localhost:1" in result.stderr


@pytest.mark.parametrize(("error", "code"), [(OverloadedError("full"), 1), (UnavailableError("gone"), 3)])
def test_failure_halfway_leaves_results(losswire, file, monkeypatch, error, code):
    evaluate, calls = Client.cross_entropy, []

    def fail_in_the_end(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 1:
            raise error
        return evaluate(*arguments, **options)

    monkeypatch.setattr(Client, "cross_entropy", fail_in_the_end)
    result = losswire("eval", file("a.npz"), file("b.npz"))
    assert result.exit_code == code
    assert ("a.npz" in result.stdout, "b.npz" in result.stdout) == (True, False)
    assert result.stderr.endswith(f"b.npz: {error}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weight", "nowhere.txt"], "--weight: nowhere.txt not found"),
        (["--label-smoothing", "0.1", "--loss", "nll_loss"], "--label-smoothing: nll_loss has no label smoothing"),
        (["--weight", "balanced", "--loss", "binary_cross_entropy"], "--weight: binary_cross_entropy has no classes"),
        (["--ignore-index", "0", "--loss", "binary_cross_entropy"], "--ignore-index: binary_cross_entropy has no"),
        (["--classes-last", "--loss", "binary_cross_entropy"], "--classes-last: binary_cross_entropy has no classes"),
        (["--plot", "out.docx"], "'--plot': expected a name that ends in .png, .svg, .pdf, got out.docx"),
        (["--plot", "nowhere/out.svg"], "'--plot': there is no directory nowhere"),
        (["--output", "out.txt"], "'--output': expected a name that ends in .csv, .parquet, .npy, .json, got out.txt"),
        (["--output", "nowhere/out.csv"], "'--output': there is no directory nowhere"),
        (["--bytes", "1", "--bytes-name", "n"], "--bytes: expected one of it and --bytes-name"),
        (["--bytes", "1", "--weight", "balanced"], "--bytes: bits per byte need a loss that is neither"),
        (
            ["--bytes-name", "n", "--label-smoothing", "0.1"],
            "--bytes-name: bits per byte need a loss that is",
        ),
        (
            ["--bytes", "1", "--loss", "binary_cross_entropy_with_logits"],
            "--bytes: binary_cross_entropy_with_lo",
        ),
        (
            ["--loss", "binary_cross_entropy_with_logits", "--input-kind", "log_probabilities"],
            "--input-kind: binary_cross_entropy_with_logits takes logits, not log_probabilities",
        ),
        (["--label-smoothing", "2"], "'--label-smoothing'"),
        (["--z-loss", "inf"], "--z-loss: expected a number from 0 to 1e15, got inf"),
        (["--ignore-index", str(-(2**64))], "--ignore-index: expected an integer of 64 bits"),
        (["--series", "a b", "--run", "any"], "--series: expected up to 64 letters"),
        (["--head", "a b"], "--head: expected a digest, or an alias"),
        (["--mask-name", ""], "--mask-name: expected a text, got none"),
    ],
)
def test_unfit_options_are_told_at_once(losswire, file, arguments, words):
    result = losswire("eval", file("a.npz"), *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_weights_that_cannot_be_read_name_their_file(losswire, file, tmp_path):
    (tmp_path / "empty.npy").write_bytes(b"")
    result = losswire("eval", file("a.npz"), "--weight", tmp_path / "empty.npy")
    assert result.exit_code == 2
    assert f"--weight: {tmp_path / 'empty.npy'}: " in result.stderr


@pytest.mark.parametrize(
    ("arrays", "arguments", "words"),
    [
        ({"target": np.ones((50, 4), np.float32)}, ["--per-class"], "a.npz: only class indices can"),
        (
            {"target": np.ones((50, 4), np.float32)},
            ["--weight", "balanced"],
            "a.npz: weights can be computed",
        ),
        ({"target": TARGET + 1}, ["--weight", "balanced"], "expected classes in [0, 4) or ignore_index -100"),
        ({"logits": LOGITS[:, 0]}, [], "expected an input of shape (rows, classes), got (50,): --loss binary_cross"),
        (
            {"target": np.ones((50, 4), int)},
            [],
            "got targets of the input's shape (50, 4): --loss binary_cross",
        ),
        ({"logits": LOGITS.reshape(10, 5, 4), "target": TARGET.reshape(10, 5)}, [], "got (10, 5): --classes-last says"),
        (
            {"logits": LOGITS.reshape(10, 5, 4), "target": TARGET[:40].reshape(10, 4)},
            ["--classes-last"],
            "without --classes-last its second dimension is the classes",
        ),
        ({"target": np.where(TARGET, TARGET, 255)}, [], "; if rows with it are to be ignored, pass --ignore-index 255"),
        ({"target": np.where(TARGET, TARGET, -1)}, [], "pass --ignore-index -1"),
        ({"target": np.where(TARGET, TARGET, -100)}, ["--ignore-index", "1"], "pass --ignore-index -100"),
        ({"target": TARGET - 1}, ["--weight", "balanced"], "pass --ignore-index -1"),
        ({}, ["--bytes-name", "bytes"], "has no array named bytes, but"),
        ({"bytes": LOGITS[:, 0]}, ["--bytes-name", "bytes"], "expected counts of bytes in bytes, got float32"),
        ({"bytes": TARGET[1:]}, ["--bytes-name", "bytes"], "logits has 50 rows, and bytes has 49"),
        (
            {"logits": LOGITS[:, 0], "target": np.full(50, 0.5)},
            ["--loss", "binary_cross_entropy_with_logits", "--per-class"],
            "only labels 0 and 1 can be added up by class, got 0.5 at row 0",
        ),
    ],
)
def test_rows_unfit_for_options_are_told(losswire, file, arrays, arguments, words):
    result = losswire("eval", file("a.npz", **arrays), *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", [["--per-class"], ["--weight", "balanced"]])
def test_files_without_common_classes(losswire, file, option):
    result = losswire("eval", file("a.npz"), file("b.npz", logits=LOGITS[:, :3], target=TARGET % 3), *option)
    assert result.exit_code == 1
    assert "b.npz: has 3 classes, and others have 4" in result.stderr


def test_name_with_brackets_stays_as_it_is(losswire, file):
    assert "a[bold].npz" in losswire("eval", file("a[bold].npz")).stdout


@pytest.mark.parametrize("option", ["--plot", "--output"])
def test_unwritable_file_is_told_at_once(losswire, file, tmp_path, option):
    path, suffix = file("a.npz"), {"--plot": "svg", "--output": "csv"}[option]
    (tmp_path / f"folder.{suffix}").mkdir()
    for wrong in (path / f"out.{suffix}", tmp_path / "new" / f"out.{suffix}", tmp_path / f"folder.{suffix}"):
        result = losswire("eval", path, option, wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{option}': " in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
