"""``losswire eval --run``: files as parts of a run."""

import json
import shutil
from io import StringIO

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv
from rich.console import Console

from losswire_client import Run
from tests.client.cli.evaluation.keyed.saved import CLASSES, FILES, ROWS, arrays, save
from tests.client.cli.files import write


def sums(client, name):
    return client.get_run(name).result().sums


@pytest.fixture
def told_keys(losswire):
    """What ``losswire runs list`` shows as the keys of a run."""

    def tell(name):
        _, *cells = losswire("runs", "list", name).stdout.splitlines()[3].split("│")
        return cells[2].strip()

    return tell


def test_run_has_the_bits_of_all_rows_at_once(added, client, exact, folder):
    said = added("bits", folder, "--block-rows", 10)
    truth = exact(*folder.iterdir())
    assert sums(client, "bits") == truth
    run = said["run"]
    assert (run["mean"], run["standard_error"]) == (truth.statistics.mean, truth.statistics.standard_error)
    assert (run["accuracy"], run["row_count"]) == (truth.statistics.accuracy, ROWS)
    assert (run["state"], run["key_count"], run["expected_keys"]) == ("open", 8, None)
    assert (said["added_key_count"], said["added_row_count"], said["found_key_count"]) == (8, ROWS, 0)
    assert (said["missing_key_count"], said["other_key_count"], said["is_complete"]) == (0, 0, True)


def test_keys_are_files_and_rows(added, client, folder):
    files = {file["name"]: file["fingerprint"] for file in added("keys", folder, "--block-rows", 16)["files"]}
    expected = {f"{name}@{files[name]}:{row}" for name, rows in FILES.items() for row in range(0, rows, 16)}
    assert {key.key for key in client.get_run("keys").keys()} == expected  # noqa: SIM118 - of the server


def test_block_has_8_mb_if_not_told_otherwise(added, folder):
    assert added("size", folder)["run"]["labels"] == {"block_rows": str(2**23 // (CLASSES * 4) // 2**18 * 2**18)}


def test_counted_blocks_are_neither_read_nor_sent(added, client, folder, monkeypatch):
    added("again", folder, "--block-rows", 10)
    before = sums(client, "again")
    monkeypatch.setattr(Run, "evaluate", None)
    said = added("again", folder)  # the size of blocks is the run's
    assert (said["added_key_count"], said["found_key_count"], said["is_complete"]) == (0, 8, True)
    assert sums(client, "again") == before


def test_file_has_its_keys_wherever_it_is(added, folder, tmp_path, monkeypatch):
    added("moved", folder, "--block-rows", 10)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(folder / "b.npz", elsewhere)
    monkeypatch.chdir(elsewhere)
    said = added("moved", "b.npz")
    assert (said["added_key_count"], said["other_key_count"]) == (0, 4)


@pytest.mark.parametrize("names", [[*FILES], [*reversed(FILES)]], ids=["forwards", "backwards"])
def test_commands_add_files_one_after_the_other(added, losswire, told_keys, client, exact, folder, names):
    run = f"parts.{names[0]}"
    for count, name in enumerate(names, 1):
        said = added(run, folder / name, "--block-rows", 10)
        keys = sum(-(-FILES[each] // 10) for each in names[:count])
        assert (said["run"]["key_count"], said["run"]["expected_keys"]) == (keys, None)
        assert told_keys(run) == f"{keys}"
    assert sums(client, run) == exact(*folder.iterdir())
    assert "without the number of its keys: expected --count or --keys" in losswire("runs", "finish", run).stderr
    assert added(run, folder, "--finish")["run"]["state"] == "finished"


@pytest.mark.parametrize("names", [[*FILES], [*reversed(FILES)]], ids=["forwards", "backwards"])
def test_expected_keys_are_those_of_all_commands(added, told_keys, folder, names):
    run = f"expected.{names[0]}"
    for count, name in enumerate(names, 1):
        added(run, folder / name, "--block-rows", 10, *(["--expected-keys", 8] if count == 1 else []))
        keys = sum(-(-FILES[each] // 10) for each in names[:count])
        assert told_keys(run) == f"{keys} of 8"


def test_command_that_finishes_expects_its_files(added, client, folder):
    said = added("whole", folder, "--block-rows", 10, "--finish")
    assert (said["run"]["expected_keys"], said["run"]["state"]) == (8, "finished")
    assert str(client.get_run("whole").progress()).startswith("whole: 8 of 8 keys")


def test_number_that_the_run_has_outgrown_is_not_shown(added, told_keys, client, folder):
    added("outgrown", folder / "a.npz", "--block-rows", 10, "--expected-keys", 3)
    assert told_keys("outgrown") == "3 of 3"
    added("outgrown", folder)
    assert told_keys("outgrown") == "8"
    assert str(client.get_run("outgrown").progress()).startswith("outgrown: 8 keys")
    assert "keys        8\n" in str(client.get_run("outgrown").result()) + "\n"


@pytest.mark.parametrize("format", ["compressed.npz", "safetensors", "parquet", "columns.parquet"])
def test_bits_are_the_same_for_all_formats(format, added, client, exact, folder, tmp_path):
    path = write(tmp_path, format, {**np.load(folder / "b.npz")})
    added(f"format.{format}", path, "--block-rows", 7)
    assert sums(client, f"format.{format}") == exact(folder / "b.npz")


def test_text_is_read_from_its_beginning_once(added, tmp_path):
    rows = arrays(40)
    table = {f"logits_{i}": rows["logits"][:, i] for i in range(CLASSES)} | {"target": rows["target"]}
    csv.write_csv(pa.table(table), tmp_path / "rows.csv")
    said = added("text", tmp_path / "rows.csv", "--block-rows", 7)
    assert (said["run"]["row_count"], said["run"]["key_count"]) == (40, 6)


def test_block_that_is_masked_away_counts_as_a_key(added, tmp_path):
    mask = np.arange(23) < 10
    path = save(tmp_path / "masked.npz", 23, mask=mask)
    said = added("masked", path, "--mask-name", "mask", "--block-rows", 10)
    assert (said["run"]["row_count"], said["run"]["key_count"], said["is_complete"]) == (10, 3, True)


def test_sequences_are_blocks_of_whole_sequences(added, client, tmp_path):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((5, 6, 4), np.float32), rng.integers(4, size=(5, 6))
    np.savez(tmp_path / "tokens.npz", logits=logits, labels=labels)
    said = added("tokens", tmp_path / "tokens.npz", "--shift", "--block-rows", 2)
    whole = client.cross_entropy(logits[:, :-1].reshape(-1, 4), labels[:, 1:].reshape(-1), exact=True).exact
    assert sums(client, "tokens").is_same(whole)
    assert said["run"]["key_count"] == 3


def test_loss_and_options_are_the_run_s(added, client, exact, folder):
    added("options", folder / "a.npz", "--ignore-index", 2, "--label-smoothing", 0.1)
    said = added("options", folder)
    assert sums(client, "options") == exact(*folder.iterdir(), ignore_index=2, label_smoothing=0.1)
    assert "perplexity" not in said["run"]
    assert said["run"]["options"] == {"ignore_index": 2, "label_smoothing": 0.1, "z_loss": 0.0}


def test_weights_are_computed_once(added, client, exact, folder):
    added("weighted", folder, "--weight", "balanced", "--block-rows", 10)
    weight = client.get_run("weighted").options["weight"]
    assert sums(client, "weighted") == exact(*folder.iterdir(), weight=weight)
    assert added("weighted", folder, "--weight", "balanced")["added_key_count"] == 0  # the same files: the same weights
    assert added("weighted", folder)["added_key_count"] == 0


def test_probabilities_are_evaluated_by_their_logarithm(added, tmp_path):
    rows = arrays(23)
    probabilities = np.exp(rows["logits"]) / np.exp(rows["logits"]).sum(1, keepdims=True)
    np.savez(tmp_path / "probs.npz", probs=probabilities, target=rows["target"])
    said = added("probs", tmp_path / "probs.npz", "--input-kind", "probabilities")
    assert said["run"]["loss"] == "nll_loss"
    assert said["run"]["mean"] == pytest.approx(-np.log(probabilities[np.arange(23), rows["target"]]).mean(), rel=1e-5)


def test_labels_are_noted(added, folder):
    said = added("labels", folder, "--label", "model=7b", "--label", "data=a=b", "--expected-keys", 99)
    assert {"model": "7b", "data": "a=b"}.items() <= said["run"]["labels"].items()
    assert said["run"]["expected_keys"] == 99


def test_classes_are_added_up_too(added, folder):
    said = added("classes", folder, "--per-class", "--block-rows", 10)
    assert [each["class"] for each in said["run"]["classes"]] == list(range(CLASSES))
    assert sum(each["row_count"] for each in said["run"]["classes"]) == ROWS
    assert added("classes", folder)["run"]["by_class"] is True


def test_tables_show_the_run_and_what_was_done(losswire, folder):
    result = losswire("eval", folder, "--run", "shown", "--block-rows", 10, "--slice-by", "file")
    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    assert words.startswith("run shown (cross_entropy), open, 8 keys")
    for name, rows in FILES.items():
        assert f"│ {name} │ {-(-rows // 10)} │" in words
    assert "added 8 keys (70 rows) in" in words
    assert words.endswith("0 were there already; the run has all 8 keys of these files")
    again = losswire("eval", folder, "--run", "shown").stdout.splitlines()[-1]
    assert again == "added 0 keys (0 rows); 8 were there already; the run has all 8 keys of these files"


def test_bar_shows_keys_at_a_terminal(added, folder, monkeypatch):
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr("losswire_client.cli.evaluation.keyed._progress.stderr", lambda: console)
    added("bar", folder, "--block-rows", 10)
    assert "8/8" in screen.getvalue()


def test_results_go_to_a_file_too(losswire, folder, tmp_path):
    assert losswire("eval", folder, "--run", "file", "--output", tmp_path / "out.json").exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["run"]["row_count"] == ROWS
