"""Names and fingerprints of files in keys."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from losswire_client._keys import Reading
from losswire_client._readers import Source
from losswire_client.cli.evaluation.keyed._contents import fingerprint_of, name_of

USUAL = Reading("logits", "target")


def print_of(path):
    return fingerprint_of(Source(path), None, USUAL)


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.npz"
    path.write_bytes(np.random.default_rng(0).bytes(2**22))
    return path


@pytest.fixture
def saved_folder(tmp_path):
    """A Hugging Face dataset with one split, and files that are none of its."""
    split = tmp_path / "data" / "validation"
    split.mkdir(parents=True)
    (tmp_path / "data" / "dataset_dict.json").write_text(json.dumps({"splits": ["validation"]}))
    (split / "state.json").write_text(json.dumps({"_data_files": [{"filename": "0.arrow"}]}))
    (split / "0.arrow").write_bytes(b"ARROW1")
    return tmp_path / "data"


def test_fingerprint_is_the_content_s(large, tmp_path):
    copy = shutil.copy(large, tmp_path / "copy.npz")
    assert print_of(large) == print_of(Path(copy))


def test_fingerprint_is_of_the_targets_too(large, tmp_path):
    prints = set()
    for target in (b"a", b"b"):
        (tmp_path / "target.npy").write_bytes(target)
        prints.add(fingerprint_of(Source(large, tmp_path / "target.npy"), None, USUAL))
    assert len(prints) == 2


def test_split_is_the_same_however_it_is_named(saved_folder):
    whole, split = Source(saved_folder), Source(saved_folder / "validation")
    assert name_of(whole, None, None) == name_of(whole, "validation", None) == name_of(split, None, None)
    assert fingerprint_of(whole, None, USUAL) == fingerprint_of(split, None, USUAL)
    assert name_of(whole, None, saved_folder.parent) == "data/validation"


def test_folder_s_fingerprint_is_that_of_its_data(saved_folder):
    before = print_of(saved_folder)
    (saved_folder / "validation" / "cache-1.arrow").write_bytes(b"ARROW1")
    assert print_of(saved_folder) == before
    (saved_folder / "validation" / "0.arrow").write_bytes(b"ARROW1 ")
    assert print_of(saved_folder) != before


def test_index_stands_for_its_parts(tmp_path):
    index = tmp_path / "val" / "model.safetensors.index.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"weight_map": {"logits": "1.safetensors", "target": "1.safetensors"}}))
    (index.parent / "1.safetensors").write_bytes(b"a")
    assert name_of(Source(index), None, None) == name_of(Source(index.parent), None, None) == "val"
    before = print_of(index)
    assert print_of(index.parent) == before
    (index.parent / "1.safetensors").write_bytes(b"b")
    assert print_of(index) != before


def test_name_is_the_same_from_any_folder(large, monkeypatch):
    monkeypatch.chdir(large.parent)
    assert name_of(Source(Path("large.npz")), None, None) == name_of(Source(large), None, None) == "large.npz"
    assert name_of(Source(Path("large.npz")), None, Path("..")) == f"{large.parent.name}/large.npz"
