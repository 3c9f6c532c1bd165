import numpy as np
import pytest
from safetensors.numpy import save_file

from losswire_client import Head
from tests.helpers import serving

RNG = np.random.default_rng(0)
HIDDEN = RNG.standard_normal((50, 6), np.float32)
TARGET = RNG.integers(11, size=50)


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "rows.npz", hidden_states=HIDDEN, target=TARGET)
    return tmp_path / "rows.npz"


def save_head(path, seed=0):
    save_file({"weight": np.random.default_rng(seed).standard_normal((11, 6)).astype(np.float32)}, path)
    return path


def test_run_has_the_head_s_numbers(added, file, tmp_path):
    head = save_head(tmp_path / "head.safetensors")
    found = added("with-head", file, "--head", head, "--block-rows", 7)
    assert found["run"]["loss"] == "linear_cross_entropy"
    assert found["added_key_count"] == 8
    logits = HIDDEN.astype(float) @ np.random.default_rng(0).standard_normal((11, 6)).astype(np.float32).T
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(50), TARGET]
    assert found["run"]["mean"] == pytest.approx(expected.mean(), rel=1e-5)
    assert added("with-head", file, "--finish")["added_key_count"] == 0  # the run has the head


def test_another_head_is_another_run(refused, added, file, tmp_path):
    added("one-head", file, "--head", save_head(tmp_path / "head.safetensors"), "--block-rows", 25)
    code, line = refused("--run", "one-head", file, "--head", save_head(tmp_path / "other.safetensors", 1))
    assert code == 2
    assert "--head: the run one-head has" in line


def test_a_run_of_logits_takes_no_head(refused, added, file, tmp_path):
    np.savez(tmp_path / "logits.npz", logits=HIDDEN, target=TARGET % 6)
    added("of-logits", tmp_path / "logits.npz")
    code, line = refused("--run", "of-logits", file, "--head", save_head(tmp_path / "head.safetensors"))
    assert code == 2
    assert "--head: the run of-logits was created without it" in line


def test_a_head_that_the_server_has_lost_is_told(refused, added, client, file, tmp_path):
    head = save_head(tmp_path / "head.safetensors", 2)
    added("lost-head", file, "--head", head)
    digest = Head.load(head).digest
    client.delete_head(digest)
    code, line = refused("--run", "lost-head", file)
    assert code == 1
    assert line.endswith(f"{digest}, which the server does not hold any more: name the file of it with --head")
    assert added("lost-head", file, "--head", head)["added_key_count"] == 0


def test_a_run_goes_on_where_nobody_may_register_its_head(added, file, tmp_path):
    (tmp_path / "heads").mkdir()
    head = save_head(tmp_path / "heads" / "head.safetensors")
    options = {"heads": tmp_path / "heads", "allow_head_registration": False}
    with serving(runs=str(tmp_path / "runs.db"), **options) as server:
        for count in (1, 0):
            target = f"127.0.0.1:{server.port}"
            assert added("given-head", file, "--head", head, "--target", target)["added_key_count"] == count
