import math

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.client.cli.comparison.twin import log_softmax, of_some, truth
from tests.client.cli.files import FORMATS, write
from tests.client.readers.sides.base_files import write_base

RNG = np.random.default_rng(0)
ROWS, CLASSES = 101, 12  # batches have 30 rows, so that the last one is smaller and a mean of means would be wrong
A = RNG.standard_normal((ROWS, CLASSES), np.float32) * 3
B = A + RNG.standard_normal((ROWS, CLASSES), np.float32) * 0.4
LABELS = RNG.integers(CLASSES, size=ROWS)
QUANTILES = {"median": 0.5, "quantile_0.9": 0.9, "quantile_0.95": 0.95, "quantile_0.99": 0.99, "quantile_0.999": 0.999}


def save(folder, name, **arrays):
    np.savez(folder / name, **arrays)
    return folder / name


def both(folder, a=A, b=B, **more):
    return save(folder, "a.npz", logits=a, **more), save(folder, "b.npz", logits=b)


def error_of(values):
    return np.std(values, ddof=1) / math.sqrt(len(values))


def assert_numbers(found, true, labels=True):
    losses = true.losses
    assert found["row_count"] == len(losses)
    assert found["mean"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["standard_error"] == pytest.approx(error_of(losses), rel=1e-4)
    assert found["maximum"] == pytest.approx(losses.max(), rel=1e-5)
    for name, part in QUANTILES.items():
        assert found[name] == pytest.approx(np.quantile(losses, part, method="lower"), rel=0.0101)
    share = true.same_top.mean()
    assert found["same_top"] == share
    assert found["same_top_standard_error"] == pytest.approx(math.sqrt(share * (1 - share) / (len(losses) - 1)))
    if labels:
        change = true.candidate - true.reference
        assert found["perplexity_reference"] == pytest.approx(np.exp(-true.reference.mean()), rel=1e-5)
        assert found["perplexity_candidate"] == pytest.approx(np.exp(-true.candidate.mean()), rel=1e-5)
        assert found["change"] == pytest.approx(change.mean(), rel=1e-4)
        assert found["change_standard_error"] == pytest.approx(error_of(change), rel=1e-4)
        assert found["perplexity_ratio"] == pytest.approx(np.exp(-change.mean()), rel=1e-5)
        ratio_error = np.exp(-change.mean()) * error_of(change)
        assert found["perplexity_ratio_standard_error"] == pytest.approx(ratio_error, rel=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_numbers_are_of_all_rows(format, compared, tmp_path):
    (tmp_path / "b").mkdir()
    a = write(tmp_path, format, {"logits": A, "label": LABELS})
    found = compared(a, write(tmp_path / "b", format, {"logits": B}))
    assert_numbers(found["total"], truth(A, B, LABELS))
    assert found["pairs"][0]["labels_name"] == "label"
    assert (found["total"]["nonfinite_count"], found["warnings"], found["errors"]) == (0, [], [])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--divergence", "reverse"], {"kind": "reverse"}),
        (["--divergence", "jensen-shannon"], {"kind": "jensen_shannon"}),
        (["--divergence", "jensen-shannon", "--beta", 0.2], {"kind": "jensen_shannon", "beta": 0.2}),
        (["--temperature", 2.5], {"temperature": 2.5}),
    ],
)
def test_divergence_is_the_chosen_one(options, kind, compared, tmp_path):
    found = compared(*both(tmp_path, labels=LABELS), *options)["total"]
    assert_numbers(found, truth(A, B, LABELS, **kind))


def test_numbers_do_not_hang_on_the_batches(compared, tmp_path):
    files = both(tmp_path, labels=LABELS)
    one, another = (compared(*files, "--batch-rows", rows)["total"] for rows in (7, 101))
    assert {**one, "seconds": 0} == {**another, "seconds": 0}


def test_without_labels_there_is_no_perplexity(compared, tmp_path):
    found = compared(*both(tmp_path))["total"]
    assert_numbers(found, truth(A, B), labels=False)
    assert not {name for name in found if "perplexity" in name or "change" in name}


def test_labels_that_are_ignored_do_not_count(compared, tmp_path):
    labels = np.where(LABELS == 3, -100, LABELS)
    found = compared(*both(tmp_path, labels=labels))["total"]
    kept = LABELS != 3
    assert_numbers(found, truth(A[kept], B[kept], LABELS[kept]))
    assert found["ignored_count"] == (~kept).sum()


def test_masked_rows_do_not_count(compared, tmp_path):
    mask = RNG.integers(2, size=ROWS)
    mask[30:60] = 0  # a batch without rows
    found = compared(*both(tmp_path, labels=LABELS, mask=mask), "--mask-name", "mask")["total"]
    kept = mask == 1
    assert_numbers(found, truth(A[kept], B[kept], LABELS[kept]))
    assert found["ignored_count"] == (~kept).sum()


def test_log_probabilities_and_probabilities_are_distributions_too(compared, tmp_path):
    a = save(tmp_path, "a.npz", log_probs=log_softmax(A), labels=LABELS)
    found = compared(a, save(tmp_path, "b.npz", probs=np.exp(log_softmax(B))))["total"]
    assert_numbers(found, truth(A, B, LABELS))


def test_positions_are_rows(compared, tmp_path):
    shapes = (4, 25, CLASSES), (4, 25)
    a = save(tmp_path, "a.npz", logits=A[:100].reshape(shapes[0]), labels=LABELS[:100].reshape(shapes[1]))
    found = compared(a, save(tmp_path, "b.npz", logits=B[:100].reshape(shapes[0])), "--shift")["total"]
    rows = np.flatnonzero(np.arange(100) % 25 < 24)
    assert_numbers(found, truth(A[rows], B[rows], LABELS[rows + 1]))


def test_folders_are_compared_file_by_file(compared, tmp_path):
    for name, each in (("a", A), ("b", B)):
        (tmp_path / name).mkdir()
        for i, rows in enumerate((slice(40), slice(40, None))):
            np.savez(tmp_path / name / f"{i}.npz", logits=each[rows], labels=LABELS[rows])
    found = compared(tmp_path / "a", tmp_path / "b")
    assert_numbers(found["total"], truth(A, B, LABELS))
    assert [pair["row_count"] for pair in found["pairs"]] == [40, 61]


@pytest.mark.parametrize("tail", ["renormalize", "one-bin", "drop"])
def test_reference_may_name_some_classes(tail, compared, tmp_path):
    classes = np.argsort(-A, 1)[:, :4]
    some = np.take_along_axis(log_softmax(A), classes, 1)
    a = save(tmp_path, "a.npz", top_log_probabilities=some, top_classes=classes)
    found = compared(a, save(tmp_path, "b.npz", logits=B), "--tail", tail)["total"]
    expected = of_some(some, classes, B, tail)
    assert found["mean"] == pytest.approx(expected.mean(), rel=1e-4)
    assert found["same_top"] == truth(A, B).same_top.mean()


WEIGHT = RNG.standard_normal((CLASSES, 6)).astype(np.float32)


@pytest.mark.parametrize("for_both", [True, False])
def test_hidden_states_have_heads(for_both, compared, tmp_path):
    hidden = RNG.standard_normal((2, ROWS, 6)).astype(np.float32)
    files = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "head")]
    for path, states in zip(files, hidden, strict=False):
        save_file({"hidden_states": states, "labels": LABELS}, path)
    save_file({"weight": WEIGHT}, files[2])
    b, options = hidden[1] @ WEIGHT.T, ["--head", files[2]]
    if not for_both:
        files[1], b, options = save(tmp_path, "b.npz", logits=B), B, ["--head-a", files[2]]
    assert_numbers(compared(*files[:2], *options)["total"], truth(hidden[0] @ WEIGHT.T, b, LABELS))


def test_a_base_file_of_llama_cpp_is_the_reference(compared, tmp_path):
    tokens = RNG.integers(CLASSES, size=(3, 8))
    base = write_base(tmp_path / "base.kld", A[:9].reshape(3, 3, CLASSES), tokens)
    found = compared(base, save(tmp_path, "b.npz", logits=B[:9]))
    true = truth(A[:9], B[:9], tokens[:, 5:].reshape(-1))
    assert found["total"]["mean"] == pytest.approx(true.losses.mean(), rel=1e-3)
    assert found["total"]["perplexity_reference"] == pytest.approx(np.exp(-true.reference.mean()), rel=1e-3)
    itself = compared(base, base)["total"]
    assert itself["mean"] == pytest.approx(0, abs=1e-6)
    assert (itself["perplexity_ratio"], itself["same_top"]) == (1, 1)


def test_infinite_divergences_are_told(losswire, tmp_path):
    b = B.copy()
    b[[5, 40], 2] = -np.inf
    a, b = both(tmp_path, b=b)
    result = losswire("compare", a, b, "--fail-on-nonfinite")
    assert result.exit_code == 1
    told = f"{a} and {b}: 2 of 101 divergences are NaN or infinite: row 5 is inf; row 40 is inf"
    assert f"losswire: warning: {told}" in result.stderr
    assert "--fail-on-nonfinite: 2 divergences" in result.stderr
    assert "│ maximum" in result.stdout
    assert f"warning: {told}" in result.stdout


def test_hidden_states_in_float64_meet_a_head_in_float32(compared, tmp_path):
    save_file({"weight": WEIGHT}, tmp_path / "head.safetensors")
    a, b = RNG.standard_normal((2, ROWS, 6))
    files = save(tmp_path, "a.npz", hidden=a, labels=LABELS), save(tmp_path, "b.npz", hidden=b)
    found = compared(*files, "--head", tmp_path / "head.safetensors")
    assert found["total"]["mean"] == pytest.approx(truth(a @ WEIGHT.T, b @ WEIGHT.T, LABELS).losses.mean(), rel=1e-5)


def test_norm_of_the_head_is_applied(compared, tmp_path):
    hidden = RNG.standard_normal((ROWS, 6)).astype(np.float32)
    metadata = {"norm": "rms", "norm_eps": "1e-6"}
    save_file({"weight": WEIGHT, "norm.weight": np.full(6, 2, np.float32)}, tmp_path / "head.safetensors", metadata)
    normed = 2 * hidden / np.sqrt((hidden**2).mean(1, keepdims=True) + 1e-6)
    a = save(tmp_path, "a.npz", hidden_states=hidden)
    found = compared(a, save(tmp_path, "b.npz", logits=B), "--head-a", tmp_path / "head.safetensors")["total"]
    assert_numbers(found, truth(normed @ WEIGHT.T, B), labels=False)
