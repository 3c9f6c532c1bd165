"""Heads of files: plain ones, checkpoints in one file or in shards, and broken ones."""

import json

import pytest
import torch
from safetensors.torch import save_file

from losswire.heads.content import digest
from losswire_server.heads.errors import UnusableHeadsError
from losswire_server.heads.loading import load_into, read
from losswire_server.heads.registry import Heads
from tests.server.heads.making import a_message, content_of

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
WEIGHT = torch.arange(15, dtype=torch.float32).reshape(5, 3)
NORM = torch.tensor([1.0, 2.0, 3.0])
LLAMA = {"model_type": "llama", "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
TENSORS = {"lm_head.weight": WEIGHT, "model.norm.weight": NORM, "model.embed_tokens.weight": WEIGHT + 1}


def heads(of_bytes=2**20):
    return Heads(of_bytes, 10)


def save_checkpoint(folder, tensors=TENSORS, config=LLAMA):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder


def save_shards(folder, files, config=LLAMA):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for file, tensors in files.items():
        save_file(tensors, folder / file)
    placed = {name: file for file, tensors in files.items() for name in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_file_has_the_digest_of_its_content(tmp_path, dtype):
    message = a_message(dtype=dtype, norm="rms", bias=True)
    message.softcap, message.temperature = 30.0, 0.5
    tensors = {"weight": message.weight, "bias": message.bias, "norm.weight": message.norm.weight}
    of_file = {
        name: torch.frombuffer(bytearray(tensor.data), dtype=dtype).reshape(tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    numbers = {"norm": "rms", "norm_eps": "1e-5", "softcap": "30", "temperature": "0.5"}
    save_file(of_file, tmp_path / "small.safetensors", numbers)
    loaded = heads()
    load_into(loaded, tmp_path)
    (held,) = loaded.held()
    assert held.digest == digest(message)
    assert (held.aliases, held.permanent) == (("small",), True)
    head = loaded.use("small", "head")
    assert (head.class_count, head.width, head.softcap, head.temperature) == (5, 3, 30.0, 0.5)
    assert len(content_of(message)) == 23 * dtype.itemsize


def test_checkpoint_of_its_own_folder_is_loaded(tmp_path):
    folder = save_checkpoint(tmp_path / "llama-3")
    loaded = heads()
    load_into(loaded, folder)
    assert [held.aliases for held in loaded.held()] == [("llama-3",)]


def test_checkpoints_and_files_are_loaded_by_name(tmp_path):
    save_checkpoint(tmp_path / "llama")
    save_file({"weight": WEIGHT}, tmp_path / "plain.safetensors")
    (tmp_path / "README.md").write_text("Heads.")
    (tmp_path / ".hidden.safetensors").write_text("no head")
    (tmp_path / "lost+found").mkdir()
    loaded = heads()
    load_into(loaded, tmp_path)
    assert sorted(held.aliases for held in loaded.held()) == [("llama",), ("plain",)]


def test_same_head_of_two_files_has_two_names(tmp_path):
    for name in "ab":
        save_file({"weight": WEIGHT}, tmp_path / f"{name}.safetensors")
    loaded = heads()
    load_into(loaded, tmp_path)
    assert [held.aliases for held in loaded.held()] == [("a", "b")]


def test_untied_checkpoint_has_its_output_layer(tmp_path):
    form, tensors = read(save_checkpoint(tmp_path / "a"))
    assert set(tensors) == {"weight", "norm.weight"}
    assert torch.equal(tensors["weight"], WEIGHT)
    assert torch.equal(tensors["norm.weight"], NORM)
    assert form.norm.eps == 1e-5


def test_tied_checkpoint_has_its_embedding(tmp_path):
    tied = {name: tensor for name, tensor in TENSORS.items() if name != "lm_head.weight"}
    _, tensors = read(save_checkpoint(tmp_path / "a", tied, {"model_type": "qwen2", "rms_norm_eps": 1e-6}))
    assert torch.equal(tensors["weight"], WEIGHT + 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gemma_norms_by_one_more_than_its_weight(tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in TENSORS.items()}
    config = {"model_type": "gemma2", "rms_norm_eps": 1e-6, "final_logit_softcapping": 30.0}
    form, read_tensors = read(save_checkpoint(tmp_path / "a", tensors, config))
    expected = 1 + NORM.to(torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(read_tensors["norm.weight"], expected)
    assert read_tensors["norm.weight"].dtype == expected.dtype
    assert form.softcap == 30.0


def test_granite_divides_logits(tmp_path):
    form, _ = read(save_checkpoint(tmp_path / "a", config={**LLAMA, "model_type": "granite", "logits_scaling": 8.0}))
    assert form.temperature == 8.0


def test_sharded_checkpoint_is_loaded(tmp_path):
    files = {
        "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": WEIGHT + 1},
        "model-00002-of-00002.safetensors": {"lm_head.weight": WEIGHT, "model.norm.weight": NORM},
    }
    _, tensors = read(save_shards(tmp_path / "a", files))
    assert torch.equal(tensors["weight"], WEIGHT)


def test_no_other_tensors_are_read(tmp_path):
    files = {
        "model-00001-of-00002.safetensors": {"model.layers.0.mlp.up_proj.weight": WEIGHT},
        "model-00002-of-00002.safetensors": {"lm_head.weight": WEIGHT, "model.norm.weight": NORM},
    }
    folder = save_shards(tmp_path / "a", files)
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"broken")
    assert set(read(folder)[1]) == {"weight", "norm.weight"}


def refused(folder, **limits):
    with pytest.raises(UnusableHeadsError) as caught:
        load_into(heads(**limits), folder)
    return str(caught.value)


def test_missing_folder_is_told(tmp_path):
    assert refused(tmp_path / "gone").endswith("gone': No such file or directory")
    assert "expected config.json, NAME.safetensors or folders of checkpoints" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64])
def test_broken_file_is_named(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    assert "a.safetensors': expected a safetensors file" in refused(tmp_path)


def test_file_that_is_cut_off_is_named(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"weight": WEIGHT}, file)
    file.write_bytes(file.read_bytes()[:-1])
    assert "a.safetensors': expected a safetensors file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "numbers", "problem"),
    [
        ({"weights": WEIGHT}, {}, "expected the tensor weight, .*; got weights"),
        ({"weight": WEIGHT.to(torch.int64)}, {}, "tensor weight: expected one of the dtypes .*int64 of shape"),
        ({"weight": NORM}, {}, r"tensor weight: expected shape \(V, H\), .* float32 of shape \(3,\)"),
        ({"weight": WEIGHT, "bias": NORM}, {}, r"tensor bias: expected shape \(V\), here \(5,\)"),
        ({"weight": WEIGHT.to(torch.float8_e4m3fn)}, {}, "tensor weight: expected a dtype .* it is float8_e4m3fn"),
        ({"weight": WEIGHT}, {"softcapp": "30"}, "metadata 'softcapp': expected any of norm, norm_eps, softcap, temp"),
        ({"weight": WEIGHT}, {"softcap": "-1"}, "softcap: expected a number from 1e-15 to 1e15, got -1.0"),
        ({"weight": WEIGHT}, {"norm": "rms", "norm_eps": "nan"}, "norm.eps: expected a number from 0 to 1e15, got nan"),
    ],
)
def test_wrong_file_is_named(tmp_path, tensors, numbers, problem):
    save_file(tensors, tmp_path / "a.safetensors", numbers)
    told = refused(tmp_path)
    assert "a.safetensors'" in told
    with pytest.raises(UnusableHeadsError, match=problem):
        load_into(heads(), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("config.json", "{", "config.json': expected JSON"),
        ("config.json", "[]", "config.json': expected an object of JSON, got list"),
        ("config.json", "[" * 100_000, "config.json': expected JSON: maximum recursion"),
        ("config.json", '{"model_type": "bert"}', "model_type: expected one of"),
        ("model.safetensors.index.json", "{}", "expected an object weight_map"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../b"}}', r"in its folder, got '../b'"),
        (
            "model.safetensors.index.json",
            '{"weight_map": {"lm_head.weight": "gone.safetensors", "model.norm.weight": "model.safetensors"}}',
            r"gone.safetensors': tensor lm_head.weight: No such file",
        ),
        (
            "model.safetensors.index.json",
            '{"weight_map": {"model.embed_tokens.weight": "model.safetensors", "lm_head.weight": "model.safetensors"}}',
            "expected the final norm in one of the tensors model.norm.weight",
        ),
    ],
)
def test_wrong_checkpoint_is_named(tmp_path, name, text, problem):
    (save_checkpoint(tmp_path / "llama") / name).write_text(text)
    with pytest.raises(UnusableHeadsError, match=problem):
        load_into(heads(), tmp_path)
    assert "llama" in refused(tmp_path)


def test_checkpoint_without_configuration_is_named(tmp_path):
    (save_checkpoint(tmp_path / "llama") / "config.json").unlink()
    assert refused(tmp_path).endswith("llama/config.json': No such file or directory")


def test_configuration_without_tensors_is_named(tmp_path):
    (save_checkpoint(tmp_path / "llama") / "model.safetensors").unlink()
    for folder in tmp_path, tmp_path / "llama":
        assert "expected model.safetensors.index.json or files *.safetensors" in refused(folder)


def test_name_that_is_no_alias_is_named(tmp_path):
    save_file({"weight": WEIGHT}, tmp_path / "a b.safetensors")
    assert "expected 1 to 200 letters, digits" in refused(tmp_path)


def test_two_heads_of_one_name_are_named(tmp_path):
    save_file({"weight": WEIGHT}, tmp_path / "llama.safetensors")
    save_checkpoint(tmp_path / "llama")
    assert refused(tmp_path).endswith("expected one head of the name 'llama', got 'llama' and 'llama.safetensors'")


def test_too_many_bytes_are_told(tmp_path):
    save_file({"weight": WEIGHT}, tmp_path / "a.safetensors")
    assert "bytes, and all heads may take 1" in refused(tmp_path, of_bytes=1)
