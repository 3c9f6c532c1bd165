"""A file's input is evaluated by its kind, and never as another kind without a warning or error."""

import json

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from losswire_client._readers import Kind, kind_named
from tests.client.cli.files import write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((60, 5)) * 2
LOG_PROBS = torch.from_numpy(LOGITS).log_softmax(1).numpy()
PROBS = np.exp(LOG_PROBS)
TARGET = RNG.integers(5, size=60)
LABELS = RNG.integers(2, size=(60, 5))
TRUTH = -LOG_PROBS[np.arange(60), TARGET].mean()
WITH_LOGARITHM = ("--input-kind", "probabilities")


@pytest.fixture
def evaluated(losswire, tmp_path):
    """Runs ``losswire eval`` on arrays. Returns the JSON and standard error."""

    def run(arrays, *arguments):
        result = losswire("eval", "--json", write(tmp_path, "npz", arrays), *arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout), result.stderr

    return run


@pytest.fixture
def refused(losswire, tmp_path):
    """The error with which ``losswire eval`` refuses arrays."""

    def run(arrays, *arguments):
        result = losswire("eval", write(tmp_path, "npz", arrays), *arguments)
        assert (result.stdout, result.stderr.count("\n")) == ("", 1)
        assert result.exit_code in (1, 2)
        return result.stderr

    return run


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("logits, test_logits, logit, Logits, logits_0", Kind.LOGITS),
        (
            "probs, probabilities, prob, y_prob, pred_proba, Probs, softmax, softmax_out, sigmoid",
            Kind.PROBABILITIES,
        ),
        (
            "log_probs, logprobs, logProbs, lprobs, log_probabilities, log-prob, token_logprobs, log_softmax",
            Kind.LOG_PROBABILITIES,
        ),
        ("input, scores, x, problem, improbable, catalog, prologue, dialogits", None),
    ],
)
def test_name_says_what_an_array_holds(names, kind):
    for name in names.split(", "):
        assert kind_named(name) is kind, name


@pytest.mark.parametrize(
    ("arrays", "arguments", "loss"),
    [
        ({"logits": LOGITS}, (), "cross_entropy"),
        ({"log_probs": LOG_PROBS}, (), "nll_loss"),
        ({"logprobs": LOG_PROBS}, ("--loss", "cross_entropy"), "cross_entropy"),
        ({"probs": PROBS}, WITH_LOGARITHM, "nll_loss"),
        ({"probs": PROBS}, (*WITH_LOGARITHM, "--loss", "cross_entropy"), "cross_entropy"),
        ({"scores": PROBS}, WITH_LOGARITHM, "nll_loss"),
        ({"probs": LOGITS}, ("--input-kind", "logits"), "cross_entropy"),
        ({"logits": LOG_PROBS}, ("--input-kind", "log_probabilities"), "nll_loss"),
    ],
)
def test_input_chooses_the_loss(arrays, arguments, loss, evaluated):
    said, errors = evaluated({**arrays, "target": TARGET}, *arguments)
    assert (said["loss"], errors, said["warnings"]) == (loss, "", [])
    assert said["total"]["loss"] == pytest.approx(TRUTH, rel=1e-6)
    assert said["total"]["accuracy"] == np.mean(LOGITS.argmax(1) == TARGET)
    assert said["files"][0]["input"] == next(iter(arrays))
    assert said["files"][0]["logarithm"] == (arguments[:2] == WITH_LOGARITHM)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_narrow_probabilities_are_widened(dtype, losswire, tmp_path):
    path = write(tmp_path, "safetensors", {"probs": PROBS.astype(dtype), "target": TARGET})
    said = json.loads(losswire("eval", path, *WITH_LOGARITHM, "--json").stdout)
    truth = -np.log(PROBS.astype(dtype).astype(float)[np.arange(60), TARGET]).mean()
    assert said["total"]["loss"] == pytest.approx(truth, rel=1e-6)
    assert said["warnings"] == []


def test_smoothing_of_log_probabilities(evaluated):
    said, _ = evaluated({"log_probs": LOG_PROBS, "target": TARGET}, "--label-smoothing", "0.1")
    expected = F.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(TARGET), label_smoothing=0.1)
    assert (said["loss"], said["total"]["loss"]) == ("cross_entropy", pytest.approx(float(expected)))


def test_distributions_of_log_probabilities(evaluated):
    said, _ = evaluated({"log_probs": LOG_PROBS, "target": PROBS[::-1]})
    expected = F.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(PROBS[::-1].copy()))
    assert (said["loss"], said["total"]["loss"]) == ("cross_entropy", pytest.approx(float(expected)))


@pytest.mark.parametrize("arrays", [{"probs": PROBS, "y": LABELS}, {"probs": PROBS[:, 0], "y": LABELS[:, 0] * 1.0}])
def test_labels_of_each_probability(arrays, evaluated):
    said, errors = evaluated(arrays)
    expected = F.binary_cross_entropy(torch.from_numpy(arrays["probs"]), torch.from_numpy(arrays["y"]).double())
    assert (said["loss"], errors) == ("binary_cross_entropy", "")
    assert said["total"]["loss"] == pytest.approx(float(expected))


@pytest.mark.parametrize("labels", [TARGET, PROBS])
def test_ambiguous_probabilities_are_refused(labels, refused):
    said = refused({"probs": PROBS, "labels": labels})
    for words in ("probs holds probabilities", "--input-kind probabilities", "--loss binary_cross_entropy"):
        assert words in said


@pytest.mark.parametrize(
    ("name", "loss", "words"),
    [
        (
            "logits",
            "nll_loss",
            "for nll_loss, got logits by the name of logits: choose --loss cross_entropy or",
        ),
        (
            "logits",
            "binary_cross_entropy",
            "choose --loss cross_entropy or --loss binary_cross_entropy_with_logits",
        ),
        ("log_probs", "binary_cross_entropy_with_logits", "choose --loss cross_entropy or --loss nll_loss, or --input"),
        ("probs", "cross_entropy", "--input-kind probabilities evaluates their logarithms, --input-kind logits probs"),
        (
            "probs",
            "nll_loss",
            "evaluates their logarithms, --input-kind log_probabilities probs",
        ),
        ("probs", "binary_cross_entropy_with_logits", "choose --loss binary_cross_entropy, or --input-kind logits if"),
    ],
)
def test_loss_against_the_name_is_refused(name, loss, words, refused):
    assert words in refused({name: LOG_PROBS, "target": TARGET}, "--loss", loss)


def test_file_unlike_the_first_is_refused(losswire, tmp_path):
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    np.savez(paths[0], log_probs=LOG_PROBS, target=TARGET)
    np.savez(paths[1], logits=LOGITS, target=TARGET)
    result = losswire("eval", *paths)
    assert (result.exit_code, "first.npz" in result.stdout) == (1, True)
    assert "second.npz: expected log_probabilities for nll_loss, got logits" in result.stderr


def test_first_readable_file_chooses(losswire, tmp_path):
    (tmp_path / "first.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "second.npz", log_probs=LOG_PROBS, target=TARGET)
    result = losswire("eval", tmp_path / "first.npz", tmp_path / "second.npz", "--json")
    assert (result.exit_code, json.loads(result.stdout)["loss"]) == (1, "nll_loss")
