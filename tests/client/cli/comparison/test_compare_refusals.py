import numpy as np
import pytest
from safetensors.numpy import save_file

LOGITS = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", logits=LOGITS, labels=np.arange(9) % 6)
    save_file({"weight": np.ones((6, 4), np.float32)}, tmp_path / "head.safetensors")
    return tmp_path / "a.npz", tmp_path / "b.npz"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--beta", "0.3"], "Invalid value for --beta: the forward divergence has no mixture"),
        (["--head", "x", "--head-a", "y"], "Invalid value for --head: expected it, or --head-a and --head-b"),
        (["--tail", "drop", "--head", "x"], "Invalid value for --head: with --tail A has log-probabilities of some"),
        (["--temperature", "0"], "Invalid value for --temperature: expected a number from 1e-15 to 1e15, got 0.0"),
        (["--temperature", "nan", "--run", "any"], "--temperature: expected a number from 1e-15 to 1e15, got nan"),
        (["--divergence", "jensen-shannon", "--beta", "1"], "Invalid value for --beta: expected a number in (0, 1)"),
        (["--tail", "drop", "--temperature", "2"], "Invalid value for --temperature: expected 1 with a target of some"),
        (["--ignore-index", 2**63], "Invalid value for --ignore-index: expected an integer of 64 bits"),
        (["--series", "a b"], "Invalid value for --series: expected up to 64 letters"),
        (["--classes", "x"], "Invalid value for --classes: it needs --tail"),
        (["--head", "a b"], "Invalid value for --head: expected a digest, or an alias"),
        (["--name-a", ""], "Invalid value for --name-a: expected a text, got none"),
        (["--run", "any", "--label", f"{'x' * 65}=y"], "Invalid value for --label: expected names of 1 to 64 bytes"),
        (["--output", "rows.txt"], "expected a name that ends in .csv, .parquet, .npy, .json, got rows.txt"),
        (["--plot", "rows.txt"], "expected a name that ends in .png, .svg, .pdf, got rows.txt"),
        (["--divergence", "backward"], "'backward' is not one of 'forward', 'reverse', 'jensen-shannon'"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(options, problem, files, refused):
    code, line = refused(*files, *options)
    assert code == 2
    assert problem in line


def test_folders_with_other_numbers_of_files_are_wrong_usage(refused, files, tmp_path):
    (tmp_path / "many").mkdir()
    for i in range(2):
        np.savez(tmp_path / "many" / f"{i}.npz", logits=LOGITS)
    code, line = refused(files[0], tmp_path / "many")
    assert code == 2
    assert f"{files[0]} has 1 files, and {tmp_path / 'many'} has 2: expected one for each" in line


def test_logits_with_a_head_are_told(refused, files, tmp_path):
    code, line = refused(*files, "--head", tmp_path / "head.safetensors", "--name-a", "logits", "--name-b", "logits")
    assert code == 1
    assert line == f"{files[0]}: logits has 6 numbers a row, expected 4, the width of the head: logits need no head"


def test_other_classes_of_a_head_are_told(refused, files, tmp_path):
    np.savez(tmp_path / "b.npz", hidden_states=LOGITS[:, :4])
    save_file({"weight": np.ones((7, 4), np.float32)}, tmp_path / "head.safetensors")
    code, line = refused(*files, "--head-b", tmp_path / "head.safetensors")
    assert code == 1
    assert line == f"{files[0]}: logits stands for 6 classes, and hidden_states of {files[1]} for 7"


def test_a_file_that_is_no_head_is_wrong_usage(refused, files):
    code, line = refused(*files, "--head-b", files[0])
    assert code == 2
    assert "--head-b" in line


def test_labels_out_of_range_name_the_row_of_the_file(refused, files, tmp_path):
    labels = np.arange(9) % 6
    labels[7] = 6
    np.savez(tmp_path / "a.npz", logits=LOGITS, labels=labels)
    code, line = refused(*files, "--batch-rows", 2)
    assert code == 1
    assert line.startswith(f"{files[0]} and {files[1]}: labels: ")
    assert "at row 7" in line


def test_a_missing_server_ends_with_its_own_code(losswire, files, silent_target):
    result = losswire("compare", *files, "--target", silent_target, "--timeout", "0.3")
    assert result.exit_code == 3


def test_a_head_that_the_server_lacks_is_told(refused, files):
    code, line = refused(*files, "--head-b", "unknown-head")
    assert code == 1
    assert "unknown-head" in line
