import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.client.cli.files import FORMATS, write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((101, 7), np.float32) * 3
TARGET = RNG.integers(7, size=101)
TARGET[TARGET == 5] = 4  # a class that does not occur
IN_CHUNKS = ("--batch-rows", 30)  # the last chunk is smaller, so that a mean of means would be wrong


@pytest.fixture
def evaluated(losswire):
    """The JSON that ``losswire eval --json`` writes."""

    def run(*arguments):
        result = losswire("eval", "--json", *IN_CHUNKS, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run


def save(folder, **arrays):
    return write(folder, "npz", arrays)


def truth(logits, target, **options):
    """PyTorch's loss in float64."""
    options = {
        k: torch.as_tensor(v, dtype=torch.float64) if v is not None and k == "weight" else v for k, v in options.items()
    }
    return F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(target), **options).numpy()


@pytest.mark.parametrize("format", FORMATS)
def test_numbers_are_of_the_whole_file(format, evaluated, tmp_path):
    total = evaluated(write(tmp_path, format, {"logits": LOGITS, "target": TARGET}))["total"]
    assert total["loss"] == pytest.approx(truth(LOGITS, TARGET), rel=1e-6)
    assert total["perplexity"] == pytest.approx(np.exp(truth(LOGITS, TARGET)), rel=1e-5)
    assert total["accuracy"] == np.mean(LOGITS.argmax(1) == TARGET)
    assert (total["row_count"], total["ignored_count"], total["weight_sum"]) == (101, 0, 101)
    assert total["rows_per_second"] == pytest.approx(101 / total["seconds"])
    assert (total["nonfinite_count"], total["first_nonfinite"]) == (0, [])


def test_options_are_passed_on(evaluated, tmp_path):
    total = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), "--ignore-index", 4, "--label-smoothing", 0.1)[
        "total"
    ]
    assert total["loss"] == pytest.approx(truth(LOGITS, TARGET, ignore_index=4, label_smoothing=0.1), rel=1e-6)
    assert total["ignored_count"] == np.sum(TARGET == 4)
    assert "perplexity" not in total


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_weights_come_from_a_file(suffix, evaluated, tmp_path):
    weight = np.arange(1.0, 8.0)
    path = tmp_path / f"weight{suffix}"
    (np.save if suffix == ".npy" else np.savetxt)(path, weight)
    total = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), "--weight", path)["total"]
    assert total["loss"] == pytest.approx(truth(LOGITS, TARGET, weight=weight), rel=1e-6)
    assert "perplexity" not in total


@pytest.mark.parametrize("weight", ["balanced", "complement"])
def test_weights_are_computed_from_all_rows(weight, evaluated, client, tmp_path):
    total = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), "--weight", weight, "--ignore-index", 2)["total"]
    whole = client.cross_entropy(LOGITS, TARGET, weight, ignore_index=2)
    assert total["loss"] == pytest.approx(float(whole.loss), rel=1e-6)
    assert total["weight_sum"] == pytest.approx(whole.weight_sum)


def test_weights_are_computed_from_all_files(evaluated, client, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    np.savez(first, logits=LOGITS[:20], target=TARGET[:20])
    np.savez(second, logits=LOGITS[20:], target=TARGET[20:])
    total = evaluated(first, second, "--weight", "balanced")["total"]
    assert total["loss"] == pytest.approx(float(client.cross_entropy(LOGITS, TARGET, "balanced").loss), rel=1e-6)


def test_files_merge_exactly(evaluated, tmp_path):
    weight = tmp_path / "weight.txt"
    np.savetxt(weight, np.arange(1.0, 8.0))
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    for path, rows in zip(paths, (slice(3), slice(3, None)), strict=True):
        np.savez(path, logits=LOGITS[rows], target=TARGET[rows])
    result = evaluated(*paths, "--weight", weight)
    losses = [each["loss"] for each in result["files"]]
    expected = truth(LOGITS, TARGET, weight=np.arange(1.0, 8.0))
    assert result["total"]["loss"] == pytest.approx(expected, rel=1e-6)
    assert abs(np.mean(losses) / expected - 1) > 0.01
    assert [each["file"] for each in result["files"]] == [str(path) for path in paths]
    assert [each["row_count"] for each in result["files"]] == [3, 98]


def test_nll_loss_takes_log_probabilities(evaluated, tmp_path):
    log_probs = F.log_softmax(torch.from_numpy(LOGITS), 1).numpy()
    total = evaluated(save(tmp_path, log_probs=log_probs, label=TARGET), "--loss", "nll_loss")["total"]
    assert total["loss"] == pytest.approx(truth(LOGITS, TARGET), rel=1e-6)
    assert "perplexity" in total


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_binary_labels_of_any_dtype(loss, dtype, evaluated, tmp_path):
    logits, target = LOGITS[:, 0], TARGET > 3
    input = logits if loss.endswith("logits") else 1 / (1 + np.exp(-logits))
    total = evaluated(save(tmp_path, scores=input, y=target.astype(dtype)), "--loss", loss)["total"]
    expected = getattr(F, loss)(torch.from_numpy(input).double(), torch.from_numpy(target).double())
    assert total["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert total["accuracy"] == np.mean((logits > 0) == target)
    assert "perplexity" not in total


def test_probabilities_are_targets_too(evaluated, tmp_path):
    target = F.softmax(torch.from_numpy(LOGITS[::-1].copy()).double(), 1).numpy()
    total = evaluated(save(tmp_path, logits=LOGITS, target=target.astype(np.float32)))["total"]
    assert total["loss"] == pytest.approx(truth(LOGITS, target), rel=1e-5)


def test_dimensions_after_the_classes(evaluated, tmp_path):
    logits, target = RNG.standard_normal((40, 5, 3), np.float32), RNG.integers(5, size=(40, 3))
    result = evaluated(save(tmp_path, logits=logits, target=target), "--per-class")["total"]
    assert result["loss"] == pytest.approx(truth(logits, target), rel=1e-6)
    assert result["row_count"] == sum(each["row_count"] for each in result["classes"]) == 120


def test_classes_may_be_last(evaluated, tmp_path):
    logits, target = RNG.standard_normal((40, 3, 5), np.float32), RNG.integers(5, size=(40, 3))
    result = evaluated(save(tmp_path, logits=logits, target=target), "--classes-last", "--per-class")["total"]
    assert result["loss"] == pytest.approx(truth(logits.reshape(-1, 5), target.reshape(-1)), rel=1e-6)
    assert (result["row_count"], len(result["classes"])) == (120, 5)


@pytest.mark.parametrize("options", [{}, {"weight": np.arange(1.0, 8.0), "label_smoothing": 0.2}])
def test_classes_add_up_to_the_whole(options, evaluated, tmp_path):
    arguments = ["--ignore-index", 2]
    if options:
        np.savetxt(tmp_path / "weight.txt", options["weight"])
        arguments += ["--weight", tmp_path / "weight.txt", "--label-smoothing", options["label_smoothing"]]
    result = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), "--per-class", *arguments)["total"]
    assert [each["class"] for each in result["classes"]] == [0, 1, 3, 4, 6]
    for each in result["classes"]:
        rows = each["class"] == TARGET
        assert each["row_count"] == rows.sum()
        assert each["loss"] == pytest.approx(truth(LOGITS[rows], TARGET[rows], **options), rel=1e-5)
        assert each["recall"] == np.mean(LOGITS[rows].argmax(1) == each["class"])
    assert sum(each["loss_sum"] for each in result["classes"]) == pytest.approx(result["loss_sum"])
    assert sum(each["correct_count"] for each in result["classes"]) == result["correct_count"]


@pytest.mark.parametrize("shape", [(101,), (101, 1)])
def test_binary_classes_are_0_and_1(shape, evaluated, tmp_path):
    logits, target = LOGITS[:, 0].reshape(shape), (TARGET > 3).astype(np.float32).reshape(shape)
    arguments = ("--loss", "binary_cross_entropy_with_logits", "--per-class")
    result = evaluated(save(tmp_path, logits=logits, target=target), *arguments)["total"]
    assert [each["class"] for each in result["classes"]] == [0, 1]
    for each in result["classes"]:
        rows = target == each["class"]
        of_class = F.binary_cross_entropy_with_logits(torch.from_numpy(logits[rows]), torch.from_numpy(target[rows]))
        assert each["row_count"] == rows.sum()
        assert each["loss"] == pytest.approx(float(of_class), rel=1e-5)
        assert each["recall"] == np.mean((logits[rows] > 0) == each["class"])


@pytest.mark.parametrize("inner", [(), (2,)])
def test_labels_of_several_classes_a_row(inner, evaluated, tmp_path):
    logits = RNG.standard_normal((101, 3, *inner), np.float32)
    labels = RNG.integers(2, size=logits.shape)
    arguments = ("--loss", "binary_cross_entropy_with_logits", "--per-class")
    result = evaluated(save(tmp_path, logits=logits, target=labels), *arguments)["total"]
    assert [each["class"] for each in result["classes"]] == [0, 1, 2]
    for each in result["classes"]:
        x, y = logits[:, each["class"]], labels[:, each["class"]]
        of_class = F.binary_cross_entropy_with_logits(torch.from_numpy(x), torch.from_numpy(y).float())
        assert (each["row_count"], each["positive_count"]) == (y.size, y.sum())
        assert each["loss"] == pytest.approx(float(of_class), rel=1e-5)
        assert each["recall"] == np.mean(x[y == 1] > 0)
        assert each["correct_count"] == np.sum((x > 0) == y)


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 8.0)])
def test_standard_error_is_of_rows(weight, evaluated, tmp_path):
    arguments = ["--ignore-index", 2]
    if weight is not None:
        np.savetxt(tmp_path / "weight.txt", weight)
        arguments += ["--weight", tmp_path / "weight.txt"]
    total = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), *arguments)["total"]
    counted = TARGET != 2
    w = np.ones(counted.sum()) if weight is None else weight[TARGET[counted]]
    losses, n = truth(LOGITS[counted], TARGET[counted], weight=weight, reduction="none"), counted.sum()
    off = losses - losses.sum() / w.sum() * w
    assert total["standard_error"] == pytest.approx(np.sqrt(n / (n - 1) * np.sum(off**2)) / w.sum(), rel=1e-5)
    if weight is None:
        assert total["standard_error"] == pytest.approx(losses.std(ddof=1) / np.sqrt(n), rel=1e-5)


def test_standard_error_of_like_losses(evaluated, tmp_path):
    logits = 1e6 + RNG.standard_normal(1000)
    path = save(tmp_path, logits=logits, target=np.zeros(1000))
    total = evaluated(path, "--loss", "binary_cross_entropy_with_logits")["total"]
    assert total["standard_error"] == pytest.approx(logits.std(ddof=1) / np.sqrt(1000), rel=1e-6)


@pytest.mark.parametrize("rows", [0, 1])
def test_standard_error_needs_two_rows(rows, evaluated, tmp_path):
    total = evaluated(save(tmp_path, logits=LOGITS[:rows], target=TARGET[:rows]))["total"]
    assert total["standard_error"] == "NaN"


def test_bits_per_byte_of_files_or_rows(evaluated, tmp_path):
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    for path, rows in zip(paths, (slice(30), slice(30, None)), strict=True):
        np.savez(path, logits=LOGITS[rows], target=TARGET[rows], bytes=np.full(len(TARGET[rows]), 4, np.uint8))
    bits = truth(LOGITS, TARGET) * 101 / np.log(2)
    total = evaluated(*paths, "--bytes", 1000)
    assert total["total"]["bits_per_byte"] == pytest.approx(bits / 1000, rel=1e-6)
    assert "bits_per_byte" not in total["files"][0]
    assert evaluated(paths[0], "--bytes", 9)["files"][0]["byte_count"] == 9
    by_row = evaluated(*paths, "--bytes-name", "bytes")
    assert by_row["total"]["bits_per_byte"] == pytest.approx(bits / 404, rel=1e-6)
    assert [each["byte_count"] for each in by_row["files"]] == [120, 284]


def test_wire_dtype_rounds_the_logits(evaluated, tmp_path):
    path = save(tmp_path, logits=LOGITS, target=TARGET)
    rounded = torch.from_numpy(LOGITS).bfloat16().float().numpy()
    assert evaluated(path, "--wire-dtype", "bfloat16")["total"]["loss"] == pytest.approx(
        truth(rounded, TARGET), rel=1e-6
    )


def test_series_reaches_the_server_s_metrics(evaluated, server, tmp_path):
    total = evaluated(save(tmp_path, logits=LOGITS, target=TARGET), "--series", "from-a-file")["total"]
    labels = {"series": "from-a-file", "loss": "cross_entropy"}
    assert server.registry.get_sample_value("losswire_weight_sum_total", labels) == 101
    assert server.registry.get_sample_value("losswire_loss_sum_total", labels) == pytest.approx(total["loss_sum"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_told_in_valid_json(value, losswire, tmp_path):
    logits = LOGITS.copy()
    logits[50, 0] = value
    path = save(tmp_path, logits=logits, target=np.ones(101, np.int64))
    total = json.loads(losswire("eval", path, "--json").stdout)["total"]
    assert (total["loss"], total["perplexity"], total["standard_error"]) == ("NaN", "NaN", "NaN")
    assert total["row_count"] == 101


@pytest.mark.parametrize("rows", [0, 101])
def test_nothing_that_counts_is_no_number(rows, evaluated, tmp_path):
    total = evaluated(save(tmp_path, logits=LOGITS[:rows], target=np.full(rows, -100)), "--per-class")["total"]
    assert (total["loss"], total["accuracy"], total["row_count"]) == ("NaN", "NaN", 0)
    assert (total["ignored_count"], total["classes"]) == (rows, [])


def test_json_is_all_the_output(losswire, tmp_path):
    result = losswire("eval", save(tmp_path, logits=LOGITS, target=TARGET), "--json", "--per-class")
    assert set(json.loads(result.stdout)) == {"loss", "files", "total", "warnings", "errors"}
    assert result.stderr == ""


def test_table_has_a_line_a_file(losswire, tmp_path):
    path = save(tmp_path, logits=LOGITS, target=TARGET)
    alone = losswire("eval", path)
    loss = f"{truth(LOGITS, TARGET):.6g}"
    assert alone.exit_code == 0
    assert (alone.stdout.count(loss), " all " in alone.stdout) == (1, False)
    both = losswire("eval", path, path, "--per-class").stdout
    assert (both.count(loss), " all " in both) == (3, True)
    assert "│     6 │" in both
    assert math.isclose(float(loss), truth(LOGITS, TARGET), rel_tol=1e-5)


def test_table_has_the_costliest_classes(losswire, tmp_path):
    logits = np.zeros((60, 60), np.float32)
    logits[17, 17] = -10
    table = losswire("eval", save(tmp_path, logits=logits, target=np.arange(60)), "--per-class").stdout
    assert "\nthe 50 of 60 classes with most of the loss; --json has all\n" in table
    classes = [line.split("│")[1].strip() for line in table.partition("recall")[2].splitlines() if line.startswith("│")]
    assert (len(classes), classes[0]) == (50, "17")
