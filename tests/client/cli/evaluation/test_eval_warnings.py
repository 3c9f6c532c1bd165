"""Doubtful numbers are not printed without a warning."""

import json

import numpy as np
import pytest
import torch

from tests.client.cli.files import write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((60, 5)) * 2
LOG_PROBS = torch.from_numpy(LOGITS).log_softmax(1).numpy()
PROBS = np.exp(LOG_PROBS)
TARGET = RNG.integers(5, size=60)
LABELS = RNG.integers(2, size=(60, 5)) * 1.0
LABELS[0] = [1, 1, 0, 0, 0]
IN_CHUNKS = ("--batch-rows", 25)
BINARY = ("--loss", "binary_cross_entropy_with_logits")


@pytest.fixture
def warned(losswire):
    """The warnings of ``losswire eval``, which are the same on standard error and in the JSON."""

    def run(*arguments):
        result = losswire("eval", "--json", *IN_CHUNKS, *arguments)
        assert result.exit_code == 0, result.stderr
        warnings = [f"{each['file']}: {each['warning']}" for each in json.loads(result.stdout)["warnings"]]
        assert result.stderr.splitlines() == [f"losswire: warning: {each}" for each in warnings]
        return warnings

    return run


@pytest.mark.parametrize(
    ("scores", "labels", "arguments", "words"),
    [
        (PROBS, TARGET, (), ["scores: expected logits, got numbers that look like probabilities"]),
        (LOGITS + 9, TARGET, ("--loss", "nll_loss"), ["scores: expected log-probabilities", "perplexity of "]),
        (LOGITS - 9, TARGET, ("--loss", "nll_loss"), ["scores: expected log-probabilities"]),
        (LOGITS, LABELS, (), ["target: expected probabilities of the classes, which sum to 1, got 2 ones"]),
        (PROBS, LABELS, BINARY, ["scores: expected logits, got numbers that look like probabilities, all in [0, 1]"]),
        (LABELS, LABELS, BINARY, ["scores: expected logits, got nothing but zeros and ones"]),
        (LOGITS[:, 0] + 9, TARGET, BINARY, ["target: expected labels or probabilities in [0, 1]", "mean loss of "]),
        (LOGITS, TARGET, (), []),
    ],
)
def test_implausible_numbers_are_warned_of(scores, labels, arguments, words, warned, tmp_path):
    warnings = warned(write(tmp_path, "npz", {"scores": scores, "target": labels}), *arguments)
    assert len(warnings) == len(words)
    for warning, expected in zip(warnings, words, strict=True):
        assert warning.startswith(str(tmp_path))
        assert expected in warning


def test_rows_are_named_by_number_in_the_file(warned, tmp_path):
    log_probs = LOG_PROBS.copy()
    log_probs[58] -= 5
    (warning,) = warned(write(tmp_path, "npz", {"scores": log_probs, "y": TARGET}), "--loss", "nll_loss")
    assert "at row 58; --input-kind and --loss say what is meant" in warning


def test_positions_are_named_too(warned, tmp_path):
    log_probs = LOG_PROBS.reshape(30, 2, 5).copy()
    log_probs[29, 1] -= 5
    path = write(tmp_path, "npz", {"scores": log_probs, "y": TARGET.reshape(30, 2)})
    (warning,) = warned(path, "--loss", "nll_loss", "--classes-last")
    assert "at row 29, position 1;" in warning


def test_every_file_is_looked_at(warned, tmp_path):
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for path, scores in zip(paths, (LOGITS, PROBS, PROBS), strict=True):
        np.savez(path, scores=scores, target=TARGET)
    assert [each.partition(":")[0] for each in warned(*paths)] == [str(path) for path in paths[1:]]


def test_table_in_a_file_has_the_warnings(losswire, tmp_path):
    result = losswire("eval", write(tmp_path, "npz", {"scores": PROBS, "target": TARGET}))
    assert "warning: " in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("option", [(), ("--fail-on-nonfinite",)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_losses_not_finite_are_counted(value, option, losswire, tmp_path):
    logits, target, paths = LOGITS.copy(), TARGET.copy(), [tmp_path / "a.npz", tmp_path / "b.npz"]
    logits[[3, 26, 27, 28, 29, 30, 59]] = value
    target[3] = -100
    np.savez(paths[0], logits=LOGITS, target=TARGET)
    np.savez(paths[1], logits=logits, target=target)
    result = losswire("eval", *paths, "--json", *IN_CHUNKS, *option)
    said = json.loads(result.stdout)
    assert result.exit_code == len(option)
    assert [each["nonfinite_count"] for each in (*said["files"], said["total"])] == [0, 6, 6]
    for each in (said["files"][1], said["total"]):
        assert [found["row"] for found in each["first_nonfinite"]] == [26, 27, 28, 29, 30]
        assert each["first_nonfinite"][0] == {"file": str(paths[1]), "row": 26, "position": [], "loss": "NaN"}
    assert "b.npz: 6 of 59 losses are NaN or infinite: row 26 is nan; row 27 is nan;" in result.stderr
    assert ("--fail-on-nonfinite: 6 losses" in result.stderr) == bool(option)


@pytest.mark.parametrize("classes_last", [False, True])
def test_infinite_losses_of_sequences(classes_last, losswire, tmp_path):
    log_probs, target = np.full((30, 4, 2, 3), np.log(0.25)), np.zeros((30, 2, 3), np.int64)
    log_probs[26, 0, 1, 2] = -np.inf
    if classes_last:
        log_probs = np.moveaxis(log_probs, 1, -1)
    path = write(tmp_path, "npz", {"log_probs": log_probs, "target": target})
    result = losswire("eval", path, *IN_CHUNKS, *["--classes-last"] * classes_last)
    assert "1 of 180 losses are NaN or infinite: row 26, position (1, 2) is inf" in result.stderr
    assert "non-finite" in result.stdout


def test_columns_of_zeros_are_left_out(losswire, tmp_path):
    path = write(tmp_path, "npz", {"logits": LOGITS, "target": TARGET})
    table = losswire("eval", path, "--fail-on-nonfinite").stdout
    assert ("non-finite" in table, "ignored" in table) == (False, False)
    assert "ignored" in losswire("eval", path, "--ignore-index", TARGET[0]).stdout


def test_narrow_terminal_shows_what_is_wrong(losswire, tmp_path, monkeypatch):
    monkeypatch.setattr("losswire_client.cli._output.PIPE_WIDTH", 80)
    path, logits = tmp_path / "a.npz", LOGITS.copy()
    logits[3] = np.nan
    np.savez(path, logits=logits, target=TARGET)
    monkeypatch.chdir(tmp_path)
    table = losswire("eval", "a.npz", "a.npz", "--bytes", 9).stdout
    assert "…" not in table
    for words in ("a.npz", "loss", "bits/byte", "accuracy", "rows", "non-finite"):
        assert words in table
    assert "rows/s" not in table
