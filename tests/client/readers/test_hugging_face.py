"""Folders as ``datasets.Dataset.save_to_disk`` writes them."""

import json
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from losswire_client._readers import FileError, Selection, Source, open_dataset, sources

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((23, 4), np.float32)
LABEL = RNG.integers(4, size=23)
TABLE = pa.table(
    {"logits": pa.FixedSizeListArray.from_arrays(LOGITS.reshape(-1), 4), "label": LABEL, "text": ["a"] * 23}
)


def save(folder, table=TABLE, shards=(10, 13), **state):
    """Writes a folder as version 5 of the library does."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{len(shards):05}.arrow" for i in range(len(shards))]
    start = 0
    for name, rows in zip(names, shards, strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as out:
            out.write_table(table.slice(start, rows), max_chunksize=4)
        start += rows
    files = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_fingerprint": "0", "_split": None} | state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def rows_of(path, rows=5, **selection):
    with closing(open_dataset(Source(path), Selection(**selection))) as dataset:
        batches = list(dataset.batches(rows))
    return batches, *(np.concatenate(parts) for parts in zip(*(batch.arguments for batch in batches), strict=True))


def refused(path, **selection):
    with pytest.raises(FileError) as error:
        rows_of(path, **selection)
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_shards_are_one_dataset(rows, tmp_path):
    path = save(tmp_path / "saved")
    batches, input, target = rows_of(path, rows)
    np.testing.assert_array_equal(input, LOGITS)
    np.testing.assert_array_equal(target, LABEL)
    last = batches[-1]
    assert last.place(len(last.target) - 1, last.target.shape) == (22,)
    assert sources([path]) == [Source(path)]


def test_matrices_are_sequences(tmp_path):
    """Array2D is an extension type of the library. Its storage is lists of lists."""
    extension = {b"ARROW:extension:name": b"datasets.features.features.Array2DExtensionType"}
    logits, labels = RNG.standard_normal((6, 3, 4)), RNG.integers(4, size=(6, 3))
    lists = pa.array(logits.tolist())
    schema = pa.schema([pa.field("logits", lists.type, metadata=extension), pa.field("labels", pa.list_(pa.int64()))])
    path = save(tmp_path / "saved", pa.table([lists, pa.array(labels.tolist())], schema), (4, 2))
    _, input, target = rows_of(path, shift=True)
    np.testing.assert_array_equal(input, logits[:, :-1].reshape(-1, 4))
    np.testing.assert_array_equal(target, labels[:, 1:].reshape(-1))


def test_split_of_several_has_to_be_chosen(tmp_path):
    save(tmp_path / "train")
    save(tmp_path / "test", TABLE.slice(3, 5), (5,))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    np.testing.assert_array_equal(rows_of(tmp_path, split="test")[1], LOGITS[3:8])
    assert refused(tmp_path) == "has several splits, train, test: choose with --split"
    assert refused(tmp_path, split="dev") == "has no split dev, but train, test: choose with --split"
    assert refused(tmp_path / "train", split="test").startswith("has no split test: expected a folder of a Hugging")
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test"]}))
    np.testing.assert_array_equal(rows_of(tmp_path)[1], LOGITS[3:8])


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"_data_files": [{"filename": "gone.arrow"}]}, "has no file gone.arrow, which state.json names"),
        ({"_data_files": [{"filename": "../train/x.arrow"}]}, "has no file ../train/x.arrow"),
        ({"_data_files": []}, "is a dataset without rows"),
        ({"_data_files": 3}, "state.json: expected the names of its files in _data_files"),
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "has its rows chosen by indices"),
    ],
)
def test_state_that_is_wrong_is_told(state, problem, tmp_path):
    assert problem in refused(save(tmp_path / "saved", **state))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_files_are_told(content, tmp_path):
    path = save(tmp_path / "saved")
    (path / "state.json").write_text(content)
    assert "state.json" in refused(path)
    (path / "dataset_dict.json").write_text(content)
    assert "dataset_dict.json" in refused(path)


def test_shard_that_is_wrong_is_named(tmp_path):
    path = save(tmp_path / "saved")
    shard = path / "data-00001-of-00002.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-8])
    assert refused(path).startswith("data-00001-of-00002.arrow is an Arrow stream that ends early")
    shard.write_bytes(whole[:200] + b"\xff" * 8 + whole[208:])
    assert "data-00001-of-00002.arrow" in refused(path)
    with pa.ipc.new_stream(shard, TABLE.drop_columns("text").schema) as out:
        out.write_table(TABLE.drop_columns("text"))
    assert refused(path) == "has other columns in data-00001-of-00002.arrow than in data-00000-of-00002.arrow"
