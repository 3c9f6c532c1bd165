"""Heads from files: of plain files and of checkpoints, in one part or in several."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from losswire_client import Head, InvalidArgumentError, Norm

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((11, 4)).astype(np.float32)
FACTORS = RNG.standard_normal(4).astype(np.float32)
LLAMA = {"model_type": "llama", "rms_norm_eps": 1e-5, "tie_word_embeddings": False}


def checkpoint(folder, config, *parts):
    """A checkpoint with these tensors, in a file or, with an index, in several."""
    folder.joinpath("config.json").write_text(json.dumps(config))
    if len(parts) == 1:
        save_file(parts[0], folder / "model.safetensors")
        return folder
    names = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
    for name, tensors in zip(names, parts, strict=True):
        save_file(tensors, folder / name)
    weight_map = {tensor: name for name, tensors in zip(names, parts, strict=True) for tensor in tensors}
    folder.joinpath("model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_plain_file_is_the_head_of_its_tensors(tmp_path):
    tensors = {"weight": WEIGHT, "bias": WEIGHT[:, 0].copy(), "norm.weight": FACTORS, "norm.bias": FACTORS * 2}
    metadata = {"norm": "layer", "norm_eps": "1e-05", "softcap": "30.0", "temperature": "2"}
    save_file(tensors, tmp_path / "head.safetensors", metadata)
    head = Head.load(tmp_path / "head.safetensors")
    norm = Norm("layer", 1e-5, FACTORS, FACTORS * 2)
    assert head.digest == Head(WEIGHT, WEIGHT[:, 0], norm=norm, softcap=30, temperature=2).digest
    assert (head.class_count, head.width, head.nbytes) == (11, 4, 4 * (44 + 11 + 4 + 4))


def test_weight_alone_is_a_head(tmp_path):
    save_file({"weight": WEIGHT.astype(ml_dtypes.bfloat16)}, tmp_path / "head.safetensors")
    head = Head.load(str(tmp_path / "head.safetensors"))
    assert head.arrays["weight"].dtype == ml_dtypes.bfloat16
    assert head.digest == Head(WEIGHT.astype(ml_dtypes.bfloat16)).digest


@pytest.mark.parametrize("parts", [1, 2])
def test_checkpoint_gives_output_layer_and_norm(tmp_path, parts):
    own = {"lm_head.weight": WEIGHT, "model.embed_tokens.weight": WEIGHT * 2}
    norm = {"model.norm.weight": FACTORS, "model.layers.0.mlp.weight": WEIGHT}
    path = checkpoint(tmp_path, LLAMA, *([own | norm] if parts == 1 else [own, norm]))
    assert Head.load(path).digest == Head(WEIGHT, norm=Norm("rms", 1e-5, FACTORS)).digest


def test_other_parts_of_a_checkpoint_are_not_opened(tmp_path):
    own = {"lm_head.weight": WEIGHT, "model.norm.weight": FACTORS}
    path = checkpoint(tmp_path, LLAMA, own, {"model.layers.0.mlp.weight": WEIGHT})
    (path / "model-00002-of-00002.safetensors").unlink()
    assert Head.load(path).digest == Head(WEIGHT, norm=Norm("rms", 1e-5, FACTORS)).digest


def test_tied_embedding_is_the_output_layer(tmp_path):
    tensors = {"model.embed_tokens.weight": WEIGHT, "model.norm.weight": FACTORS.astype(ml_dtypes.bfloat16)}
    config = {"model_type": "gemma2", "tie_word_embeddings": True, "rms_norm_eps": 1e-6}
    head = Head.load(checkpoint(tmp_path, config, tensors))
    factors = 1 + FACTORS.astype(ml_dtypes.bfloat16).astype(np.float32)  # of Gemma's norm
    assert head.digest == Head(WEIGHT, norm=Norm("rms", 1e-6, factors), softcap=30).digest


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        (LLAMA, {"model.norm.weight": FACTORS}, "expected an output layer in one of the tensors lm_head.weight"),
        ({"model_type": "of_tomorrow"}, {"lm_head.weight": WEIGHT}, "model_type: expected one of .*'of_tomorrow'"),
        ([], {"lm_head.weight": WEIGHT}, "config.json: expected an object"),
        (LLAMA, {"lm_head.weight": FACTORS, "model.norm.weight": FACTORS}, r"^path: .*: weight: expected shape \(V"),
    ],
)
def test_wrong_checkpoint_says_what_is_wrong(tmp_path, config, tensors, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Head.load(checkpoint(tmp_path, config, tensors))


def test_folder_or_file_that_is_none_says_so(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"^path: .*expected model.safetensors.index.json or files"):
        Head.load(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"^path: .*absent"):
        Head.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("a text")
    with pytest.raises(InvalidArgumentError, match=r"^path: .*expected a file of safetensors, got text.safetensors"):
        Head.load(tmp_path / "text.safetensors")
    with pytest.raises(InvalidArgumentError, match=r"^path: expected the path of a file or folder, got 3"):
        Head.load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"3"])
def test_broken_json_is_named(tmp_path, name, content):
    path = checkpoint(tmp_path, LLAMA, {"lm_head.weight": WEIGHT}, {"model.norm.weight": FACTORS})
    (path / name).write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=f"^path: .*: {name}: expected"):
        Head.load(path)


def test_index_cannot_point_elsewhere(tmp_path):
    path = checkpoint(tmp_path, LLAMA, {"lm_head.weight": WEIGHT}, {"model.norm.weight": FACTORS})
    index = path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001", "../model-00001"))
    with pytest.raises(InvalidArgumentError, match="expected names of files in the index's folder"):
        Head.load(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_that_cannot_be_read_is_named(tmp_path, name):
    path = checkpoint(tmp_path, LLAMA, {"lm_head.weight": WEIGHT}, {"model.norm.weight": FACTORS})
    (path / name).write_text("{")
    with pytest.raises(InvalidArgumentError, match=f"^path: .*: {name}: expected .*JSON: Expecting property name"):
        Head.load(path)
