import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from losswire_client import Head
from tests.client.cli.files import FORMATS, write

RNG = np.random.default_rng(0)
CLASSES, WIDTH = 11, 6
HIDDEN = RNG.standard_normal((101, WIDTH), np.float32)
TARGET = RNG.integers(CLASSES, size=101)
WEIGHT = RNG.standard_normal((CLASSES, WIDTH), np.float32)
LOGITS = torch.from_numpy(HIDDEN).double() @ torch.from_numpy(WEIGHT).double().T


@pytest.fixture
def head(tmp_path):
    save_file({"weight": WEIGHT}, tmp_path / "head.safetensors")
    return tmp_path / "head.safetensors"


@pytest.fixture
def evaluated(losswire):
    """The JSON that ``losswire eval --json`` writes."""

    def run(*arguments):
        result = losswire("eval", "--json", "--batch-rows", 30, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run


def save(folder, name="rows.npz", **arrays):
    np.savez(folder / name, **arrays)
    return folder / name


def loss(target=TARGET, **options):
    return float(F.cross_entropy(LOGITS, torch.from_numpy(target), **options))


@pytest.mark.parametrize("format", FORMATS)
def test_losses_are_of_the_head_s_logits(format, evaluated, head, tmp_path):
    found = evaluated(write(tmp_path, format, {"hidden_states": HIDDEN, "target": TARGET}), "--head", head)
    assert found["loss"] == "linear_cross_entropy"
    assert found["total"]["loss"] == pytest.approx(loss(), rel=1e-5)
    assert found["total"]["perplexity"] == pytest.approx(np.exp(loss()), rel=1e-5)
    assert found["total"]["accuracy"] == np.mean(LOGITS.argmax(1).numpy() == TARGET)


def test_positions_of_sequences_are_rows(evaluated, head, tmp_path):
    hidden, target = HIDDEN[:100].reshape(4, 25, WIDTH), TARGET[:100].reshape(4, 25)
    found = evaluated(save(tmp_path, last_hidden_state=hidden, labels=target), "--head", head, "--shift")
    rows = np.flatnonzero(np.arange(100) % 25 < 24)
    expected = float(F.cross_entropy(LOGITS[rows], torch.from_numpy(TARGET[rows + 1])))
    assert found["total"]["loss"] == pytest.approx(expected, rel=1e-5)


def test_options_of_the_loss_are_passed_on(evaluated, head, tmp_path):
    path, weight = save(tmp_path, hidden=HIDDEN, target=TARGET), tmp_path / "weight.npy"
    np.save(weight, np.arange(1.0, CLASSES + 1))
    found = evaluated(path, "--head", head, "--ignore-index", 4, "--weight", weight, "--label-smoothing", 0.1)
    weights = torch.arange(1.0, CLASSES + 1, dtype=torch.float64)
    expected = loss(ignore_index=4, weight=weights, label_smoothing=0.1)
    assert found["total"]["loss"] == pytest.approx(expected, rel=1e-5)
    assert "perplexity" not in found["total"]


def test_weights_and_classes_are_those_of_the_head(evaluated, head, tmp_path):
    path = save(tmp_path, hidden=HIDDEN, target=TARGET)
    found = evaluated(path, "--head", head, "--weight", "balanced", "--per-class")
    counts = np.bincount(TARGET, minlength=CLASSES)
    expected = loss(weight=torch.from_numpy(101 / (CLASSES * counts)))
    assert found["total"]["loss"] == pytest.approx(expected, rel=1e-5)
    assert [each["row_count"] for each in found["total"]["classes"]] == counts[counts > 0].tolist()


@pytest.mark.parametrize("with_head", [True, False])
def test_z_loss_is_added(with_head, evaluated, head, tmp_path):
    arrays = {"hidden": HIDDEN} if with_head else {"logits": LOGITS.float().numpy()}
    options = ["--head", head] if with_head else []
    found = evaluated(save(tmp_path, **arrays, target=TARGET), "--z-loss", 0.01, *options)["total"]
    added = 0.01 * float((LOGITS.logsumexp(1) ** 2).mean())
    assert found["loss"] == pytest.approx(loss() + added, rel=1e-5)
    assert "perplexity" not in found


def test_a_head_that_the_server_holds_has_a_name(evaluated, client, head, tmp_path):
    path = save(tmp_path, hidden=HIDDEN, target=TARGET)
    held = client.register_head(Head.load(head), alias="of-the-test")
    for name in ("of-the-test", held.digest):
        assert evaluated(path, "--head", name)["total"]["loss"] == pytest.approx(loss(), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("of_head", [np.float64, np.float32, np.float16])
def test_hidden_states_have_the_precision_of_the_head(dtype, of_head, evaluated, tmp_path):
    save_file({"weight": WEIGHT.astype(of_head)}, tmp_path / "head.safetensors")
    path = save(tmp_path, hidden=HIDDEN.astype(dtype), target=TARGET)
    found = evaluated(path, "--head", tmp_path / "head.safetensors")["total"]["loss"]
    assert found == pytest.approx(loss(), rel=1e-2 if np.float16 in (dtype, of_head) else 1e-5)


def test_rows_are_written_as_of_logits(losswire, head, tmp_path):
    path = save(tmp_path, hidden=HIDDEN, target=TARGET)
    assert losswire("eval", path, "--head", head, "--output", tmp_path / "rows.npy").exit_code == 0
    expected = F.cross_entropy(LOGITS, torch.from_numpy(TARGET), reduction="none").numpy()
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "options", "code", "problem"),
    [
        ({"logits": LOGITS.numpy()}, [], 1, "has no array named hidden_states or hidden"),
        (
            {"logits": HIDDEN},
            ["--input-name", "logits"],
            1,
            "expected hidden states for a head, got logits by the name of logits: leave out --head",
        ),
        (
            {"hidden": LOGITS.numpy()},
            [],
            1,
            "hidden has 11 numbers a row, expected 6, the width of the head: logits need no head",
        ),
        ({"hidden": HIDDEN[:, :5]}, [], 1, "hidden has 5 numbers a row, expected 6, the width of the head"),
        ({"hidden": HIDDEN}, ["--loss", "nll_loss"], 2, "nll_loss has no head: expected linear_cross_entropy"),
        ({"hidden": HIDDEN}, ["--input-kind", "logits"], 2, "with --head the input is hidden states"),
    ],
)
def test_what_does_not_fit_a_head_is_refused(arrays, options, code, problem, refused, head, tmp_path):
    path = save(tmp_path, **arrays, target=TARGET)
    found, line = refused(path, "--head", head, *options)
    assert found == code
    assert problem in line


def test_hidden_states_whose_numbers_are_not_last_are_told(refused, head, tmp_path):
    hidden, target = HIDDEN[:100].reshape(4, 25, WIDTH).swapaxes(1, 2), TARGET[:100].reshape(4, 25)
    path = save(tmp_path, hidden=hidden, target=target)
    expected = "(4, 6), one for each row of hidden of shape (4, 6, 25), whose numbers are last"
    assert refused(path, "--head", head) == (1, f"{path}: target has shape (4, 25), expected {expected}")


def test_the_loss_of_hidden_states_needs_a_head(refused, tmp_path):
    path = save(tmp_path, hidden=HIDDEN, target=TARGET)
    code, line = refused(path, "--loss", "linear_cross_entropy")
    assert (code, line) == (2, "Invalid value for --loss: linear_cross_entropy needs --head")


def test_a_head_that_nobody_has_is_told(refused, tmp_path):
    code, line = refused(save(tmp_path, hidden=HIDDEN, target=TARGET), "--head", "nowhere")
    assert code == 1
    assert line == "--head: there is no file or folder nowhere, and the server holds no head of this name"


def test_z_loss_is_of_softmax_losses(refused, tmp_path):
    path = save(tmp_path, log_probs=LOGITS.log_softmax(1).numpy(), target=TARGET)
    assert refused(path, "--z-loss", 0.1) == (2, "Invalid value for --z-loss: nll_loss has no z loss")
