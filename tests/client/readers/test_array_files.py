"""Arrays in files of their own, in archives, and in shards."""

import json
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import save_file

from losswire_client._readers import FileError, Source, open_dataset, sources
from tests.client.cli.files import write
from tests.client.readers.reading import LOGITS, RNG, TARGET, assert_read, refused, rows_of, save_arrays


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4"])
def test_pair_of_arrays_is_read(dtype, order, tmp_path):
    save_arrays(tmp_path, predictions=np.asarray(LOGITS, dtype, order), truth=TARGET)
    found = rows_of(tmp_path / "predictions.npy", tmp_path / "truth.npy")
    assert_read(found, LOGITS.astype(dtype))


def test_array_is_mapped_and_not_copied(tmp_path):
    save_arrays(tmp_path, logits=LOGITS, targets=TARGET)
    with closing(open_dataset(Source(tmp_path))) as dataset:
        batch = next(dataset.batches(5))
    assert not batch.input.flags.owndata
    assert not batch.input.flags.writeable


def test_targets_in_another_format(tmp_path):
    save_arrays(tmp_path, logits=LOGITS)
    path = write(tmp_path, "safetensors", {"labels": TARGET, "other": TARGET})
    assert_read(rows_of(tmp_path / "logits.npy", path))


def test_folder_of_arrays_is_a_dataset(tmp_path):
    save_arrays(tmp_path, logits=LOGITS, targets=TARGET, mask=TARGET % 2, mine=LOGITS * 2)
    assert_read(rows_of(tmp_path))
    assert_read(
        rows_of(tmp_path, mask_name="mask", input_name="mine"), (LOGITS * 2)[TARGET % 2 == 1], TARGET[TARGET % 2 == 1]
    )


def test_error_of_a_pair_names_its_file(tmp_path):
    save_arrays(tmp_path, logits=LOGITS, labels=TARGET, words=TARGET.astype("U"), short=TARGET[:-1])
    logits = tmp_path / "logits.npy"
    assert "is one array: name the file of the targets with --target-file" in refused(logits)
    assert refused(logits, tmp_path / "short.npy") == "logits has 23 rows, and short has 22"
    for name, problem in [("words.npy", "expected numbers in words, got <U21"), ("x.npz", "No such file")]:
        with pytest.raises(FileError, match=f"{tmp_path / name}: .*{problem}"):
            rows_of(logits, tmp_path / name)


@pytest.mark.parametrize("rows", [1, 5, 23])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_column_major_arrays_are_read(save, rows, tmp_path):
    logits = np.asfortranarray(RNG.standard_normal((23, 3, 4), np.float32))
    save(tmp_path / "rows.npz", logits=logits, target=np.asfortranarray(TARGET.reshape(23, 1).repeat(4, 1)))
    input, target = rows_of(tmp_path / "rows.npz", rows=rows)
    np.testing.assert_array_equal(input, logits)
    np.testing.assert_array_equal(target, TARGET[:, None].repeat(4, 1))


def test_archive_of_nothing_has_no_arrays(tmp_path):
    np.savez(tmp_path / "rows.npz")
    assert "but nothing: choose with --input-name" in refused(tmp_path / "rows.npz")


def save_shards(folder, **arrays):
    """A file for each array, and their index."""
    names = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate(arrays)}
    for name, array in arrays.items():
        save_file({name: array}, folder / names[name])
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": names}))
    return index


def test_sharded_safetensors_are_read(tmp_path):
    index = save_shards(tmp_path, logits=LOGITS, labels=TARGET)
    assert_read(rows_of(index))
    assert_read(rows_of(tmp_path))
    assert [source.path for source in sources([tmp_path])] == [tmp_path]


@pytest.mark.parametrize(
    ("weight_map", "problem"),
    [
        (
            {"logits": "gone.safetensors", "y": "model-00001-of-00002.safetensors"},
            "logits is in gone.safetensors, which",
        ),
        ({"logits": "model-00001-of-00002.safetensors", "y": "b"}, "logits is not in model-00001-of-00002.safetensors"),
        ({"logits": "../logits.safetensors"}, "expected names of files in the index's folder"),
        ({"logits": 3}, "expected names of files in the index's folder"),
        ([], "expected a weight_map"),
    ],
)
def test_index_that_is_wrong_is_told(weight_map, problem, tmp_path):
    index = save_shards(tmp_path, logits=LOGITS, labels=TARGET)
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert problem in refused(index)
