import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import save_file

from losswire_client import Head
from tests.client.cli.comparison.twin import truth
from tests.processes import run

RNG = np.random.default_rng(0)
A = RNG.standard_normal((61, 9), np.float32) * 2
B = A + RNG.standard_normal((61, 9), np.float32) * 0.3
LABELS = RNG.integers(9, size=61)
TRUE = truth(A, B, LABELS)


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "a.npz", logits=A, labels=LABELS)
    np.savez(tmp_path / "b.npz", logits=B)
    return tmp_path / "a.npz", tmp_path / "b.npz"


def test_numbers_are_those_without_a_run(added, compared, files):
    found = added("whole", *files, "--block-rows", 8)
    alone = compared(*files)["total"]
    for name in ("mean", "standard_error", "median", "quantile_0.999", "change", "perplexity_ratio", "same_top"):
        assert found["total"][name] == alone[name]
    assert found["total"]["maximum"] == pytest.approx(TRUE.losses.max(), rel=0.0101)
    assert (found["added_key_count"], found["added_row_count"], found["is_complete"]) == (8, 61, True)
    assert found["run"]["loss"] == "kl_divergence"
    assert "perplexity" not in found["run"]
    assert found["run"]["median"] == alone["median"]


def test_nothing_counts_twice_and_the_run_has_its_options(added, files):
    first = added("twice", *files, "--block-rows", 20, "--divergence", "jensen-shannon", "--beta", 0.3)
    again = added("twice", *files, "--finish")
    assert (first["added_key_count"], again["added_key_count"]) == (4, 0)
    assert again["total"] == first["total"]
    assert again["total"]["mean"] == pytest.approx(truth(A, B, kind="jensen_shannon", beta=0.3).losses.mean(), rel=1e-5)
    assert again["run"]["state"] == "finished"


@pytest.mark.slow
def test_several_workers_share_a_run(target, files):
    options = ["--run", "shared", "--block-rows", "2", "--json", "--target", target]
    command = [sys.executable, "-m", "losswire_client.cli", "compare", *map(str, files), *options]
    with ThreadPoolExecutor(3) as threads:
        work = [threads.submit(run, command, check=True, capture_output=True, text=True) for _ in range(3)]
    found = [json.loads(each.result().stdout) for each in work]
    assert sum(each["added_key_count"] for each in found) == 31
    assert found[0]["total"]["mean"] == pytest.approx(TRUE.losses.mean(), rel=1e-5)


def test_rows_that_a_mask_leaves_out_have_their_keys(added, tmp_path):
    mask = np.repeat([1, 0, 1], [20, 20, 21])
    np.savez(tmp_path / "a.npz", logits=A, labels=LABELS, mask=mask)
    np.savez(tmp_path / "b.npz", logits=B)
    found = added("masked", tmp_path / "a.npz", tmp_path / "b.npz", "--mask-name", "mask", "--block-rows", 10)
    kept = mask == 1
    assert (found["added_key_count"], found["total"]["row_count"]) == (7, 41)
    assert found["total"]["mean"] == pytest.approx(TRUE.losses[kept].mean(), rel=1e-5)


def test_heads_are_those_of_the_run(added, losswire, files, tmp_path):
    weight = RNG.standard_normal((9, 5)).astype(np.float32)
    save_file({"weight": weight}, tmp_path / "head.safetensors")
    save_file({"weight": weight + 1}, tmp_path / "other.safetensors")
    hidden = RNG.standard_normal((61, 5))  # in float64, which a head in float32 takes here
    np.savez(files[1], hidden_states=hidden)
    found = added("heads", *files, "--head-b", tmp_path / "head.safetensors")
    assert found["total"]["mean"] == pytest.approx(truth(A, hidden @ weight.T).losses.mean(), rel=1e-5)
    assert added("heads", *files)["added_key_count"] == 0
    other = tmp_path / "other.safetensors"
    for option, there in (("--head-b", Head(weight).digest), ("--head", "none")):
        result = losswire("compare", "--run", "heads", *files, option, other)
        assert result.exit_code == 2
        assert f"{option}: the run heads has {there}, got {Head.load(other).digest}: leave it out" in result.stderr


def test_slices_are_added_up_too(losswire, tmp_path):
    for name, logits in (("a", A), ("b", B)):
        (tmp_path / name).mkdir()
        for i in range(2):
            np.savez(tmp_path / name / f"{i}.npz", logits=logits[i::2])
    plot = tmp_path / "kl.svg"
    result = losswire(
        "compare", tmp_path / "a", tmp_path / "b", "--run", "sliced", "--slice-by", "file", "--plot", plot
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "slice 0.npz" in result.stdout
    assert "quantiles and the maximum are within 1 %" in result.stdout
    assert "added 2 keys (61 rows)" in result.stdout
    assert plot.exists()


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--divergence", "reverse"], 2, "--divergence: the run refusing has forward, got reverse"),
        (["--temperature", 2], 2, "--temperature: the run refusing has 1.0, got 2.0"),
        (["--batch-rows", 3], 2, "--batch-rows: with --run the rows of one evaluation are those of a key"),
        (["--output", "rows.csv"], 2, "--output: a run keeps sums, and no rows"),
        (["--block-rows", 3], 2, "--block-rows: the run refusing has"),
    ],
)
def test_what_contradicts_the_run_is_refused(options, code, problem, added, losswire, files):
    added("refusing", *files)
    result = losswire("compare", "--run", "refusing", *files, *options)
    assert result.exit_code == code
    assert problem in result.stderr


def test_options_of_runs_need_one(losswire, files):
    result = losswire("compare", *files, "--block-rows", 3)
    assert (result.exit_code, result.stderr) == (2, "losswire: Invalid value for --block-rows: it needs --run\n")


def test_runs_are_of_one_command(added, losswire, files):
    added("of-compare", *files)
    result = losswire("eval", "--run", "of-compare", files[0])
    assert result.exit_code == 1
    assert "has the loss kl_divergence, to which losswire compare adds files" in result.stderr
    assert losswire("eval", "--run", "of-eval", files[0]).exit_code == 0
    result = losswire("compare", "--run", "of-eval", *files)
    assert result.exit_code == 1
    assert "has the loss cross_entropy, to which losswire eval adds files" in result.stderr


def test_a_changed_file_is_told(added, losswire, files):
    added("changed", *files)
    np.savez(files[0], logits=A + 1, labels=LABELS)
    result = losswire("compare", "--run", "changed", *files)
    assert result.exit_code == 1
    assert "has another file by the name of b.npz" in result.stderr


def test_runs_show_tells_what_divergences_have(added, losswire, files):
    whole = added("shown", *files)["total"]
    result = losswire("runs", "show", "shown")
    assert result.exit_code == 0
    table = result.stdout.split("options:")[0]
    assert f"{whole['quantile_0.99']:#.4g}" in table
    assert f"{whole['same_top']:.2%}" in table
    assert "perplexity" not in table
    found = json.loads(losswire("runs", "show", "shown", "--json").stdout)
    for name in ("mean", "median", "maximum", "perplexity_ratio", "change", "same_top"):
        assert found[name] == whole[name]
