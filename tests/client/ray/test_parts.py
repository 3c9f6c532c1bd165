"""How files are cut: by what is in them, and by nothing else."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs, parquet

from losswire_client import InvalidArgumentError
from losswire_client._keys import Terms
from losswire_client._readers import FileError
from losswire_client.ray._files import File, files_of
from losswire_client.ray._parts import Names, parts_of
from tests.client.ray.datasets import BLOCK_ROWS, DOMAIN, HALF, KEYS, LOGITS, TARGET, WEIGHT, bare, save, table

BLOCKS = Terms(BLOCK_ROWS)


def keys(path, root=None, terms=BLOCKS, **names) -> list[str]:
    found = (parts_of(file, Names(**names), terms) for file in files_of(path, root or path))
    return bare(key for parts in found for _, keys in parts for key in keys)


def blocks(path, terms=BLOCKS, root=None, **names):
    found = (parts_of(file, Names(**names), terms) for file in files_of(path, root))
    return [block for parts in found for part, _ in parts for block in part.blocks()]


def test_blocks_are_all_rows_in_their_order(tmp_path):
    found = [block.rows for block in blocks(save(tmp_path), sample_weight="weight")]
    np.testing.assert_array_equal(np.concatenate([rows.input for rows in found]), LOGITS)
    np.testing.assert_array_equal(np.concatenate([rows.target for rows in found]), TARGET)
    assert {rows.sample_weight.dtype for rows in found} == {np.dtype("float32")}


def test_keys_are_those_of_the_blocks(tmp_path):
    folder = save(tmp_path)
    assert keys(folder) == KEYS
    assert keys(folder) == bare(block.key for block in blocks(folder, root=folder))


@pytest.mark.parametrize("rows", [1, 7, 20, 33, HALF, HALF + 1])
def test_blocks_hang_on_no_row_group(tmp_path, rows):
    for group in (1, 9, 20, HALF):
        parquet.write_table(table(slice(HALF)), tmp_path / "a.parquet", row_group_size=group)
        found = blocks(tmp_path, Terms(rows))
        assert bare(block.key for block in found) == [f"a.parquet:{row}" for row in range(0, HALF, rows)]
        assert [len(block.rows.target) for block in found] == [min(rows, HALF - row) for row in range(0, HALF, rows)]
        np.testing.assert_array_equal(np.concatenate([block.rows.target for block in found]), TARGET[:HALF])


@pytest.mark.parametrize(("rows", "begun"), [(20, [0, 20, 40]), (7, [0, 21, 42]), (33, [0, 33])])
def test_part_has_the_blocks_that_begin_in_a_row_group(tmp_path, rows, begun):
    (file,) = files_of(save(tmp_path) / "a.parquet", None)
    assert [part.rows.start for part, _ in parts_of(file, Names(), Terms(rows))] == begun


def test_block_has_as_many_rows_as_have_2_to_the_24_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", logits=np.zeros((5, 2**22), np.float16), target=np.zeros(5, int))
    assert keys(tmp_path, terms=Terms()) == ["a.npz:0", "a.npz:4"]


def test_keys_know_what_is_in_a_file_and_what_is_read(tmp_path):
    def key(**names):
        (file,) = files_of(tmp_path / "a.npz", None)
        ((_, (found,)),) = parts_of(file, Names(**names), Terms())
        return found.removesuffix(":7")

    columns: dict[str, Any] = {"target": TARGET, "weight": WEIGHT, "bucket": np.full(len(TARGET), 7)}
    np.savez(tmp_path / "a.npz", logits=LOGITS, **columns)
    found = [key(), key(sample_weight="weight"), key(slice="bucket"), key(input="weight")]
    assert key() == key(input="logits")
    np.savez(tmp_path / "a.npz", logits=LOGITS + 1, **columns)
    assert len({*found, key()}) == 5


@pytest.mark.parametrize(("by", "slices"), [("file", ["a.parquet", "deep/b.npz"]), ("folder", ["val", "deep"])])
def test_files_and_folders_are_slices(tmp_path, by, slices):
    folder = tmp_path / "val"
    folder.mkdir()
    found = blocks(save(folder), Terms(HALF, by), root=folder)
    assert [block.slice for block in found] == slices
    assert [block.key.rpartition(":")[2] for block in found] == ["0", "0"]


def test_slices_are_keys_of_their_own(tmp_path):
    folder = save(tmp_path)
    assert keys(folder, slice="domain") == [f"{key}:{name}" for key in KEYS for name in ("books", "web")]
    found = blocks(folder, slice="domain")
    for name in ("books", "web"):
        targets = [block.rows.target for block in found if block.slice == name]
        np.testing.assert_array_equal(np.concatenate(targets), TARGET[name == DOMAIN])


def test_one_slice_is_in_its_key_too(tmp_path):
    np.savez(tmp_path / "a.npz", logits=LOGITS, target=TARGET, bucket=np.full(len(TARGET), 7))
    assert keys(tmp_path, terms=Terms(), slice="bucket") == ["a.npz:0:7"]
    assert [block.slice for block in blocks(tmp_path, Terms(), slice="bucket")] == ["7"]


def test_slices_must_be_names(tmp_path):
    np.savez(tmp_path / "a.npz", logits=LOGITS, target=TARGET, bucket=np.full(len(TARGET), 0.5))
    with pytest.raises(FileError, match=r"a\.npz: expected names of slices, texts or integers, got float64"):
        keys(tmp_path, slice="bucket")


@pytest.mark.parametrize(
    "logits",
    [
        pa.FixedSizeListArray.from_arrays(LOGITS.reshape(-1), 5),
        pa.array(list(LOGITS), pa.large_list(pa.float32())),
        pa.FixedShapeTensorArray.from_numpy_ndarray(LOGITS),
    ],
    ids=["fixed size", "large", "tensor"],
)
def test_lists_become_arrays(tmp_path, logits):
    parquet.write_table(pa.table({"scores": logits, "y": TARGET}), tmp_path / "a.parquet", row_group_size=50)
    found = blocks(tmp_path / "a.parquet")
    assert [block.rows.input.shape for block in found] == [(20, 5)] * 6
    np.testing.assert_array_equal(np.concatenate([block.rows.input for block in found]), LOGITS)


def test_columns_of_classes_become_an_array(tmp_path):
    columns = {f"logits_{i}": LOGITS[:, i] for i in range(5)}
    parquet.write_table(pa.table({**columns, "target": TARGET}), tmp_path / "a.pq")
    (block,) = blocks(tmp_path, Terms())
    np.testing.assert_array_equal(block.rows.input, LOGITS)


def test_empty_row_groups_have_no_keys(tmp_path):
    with parquet.ParquetWriter(tmp_path / "a.parquet", table().schema) as writer:
        writer.write_table(table().slice(0, 0))
    assert keys(tmp_path) == []
    assert blocks(tmp_path) == []


def test_files_elsewhere_are_read(tmp_path):
    save(tmp_path)
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    files = [File(path, path, elsewhere) for path in ("a.parquet", "deep/b.npz")]
    parts = [part for file in files for part in parts_of(file, Names(), BLOCKS)]
    assert bare(key for _, keys in parts for key in keys) == KEYS
    found = [block.rows.target for part, _ in parts for block in part.blocks()]
    np.testing.assert_array_equal(np.concatenate(found), TARGET)


def test_names_of_files_do_not_hang_on_how_they_are_given(tmp_path, monkeypatch):
    save(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = [tmp_path, [str(tmp_path / "a.parquet"), "deep"], f"file://{tmp_path}", ["./a.parquet", tmp_path], "."]
    assert [[file.name for file in files_of(paths, None)] for paths in given] == [["a.parquet", "b.npz"]] * len(given)
    assert [file.name for file in files_of(tmp_path, tmp_path.parent)] == [
        f"{tmp_path.name}/a.parquet",
        f"{tmp_path.name}/deep/b.npz",
    ]


def test_hidden_files_are_left_out(tmp_path):
    save(tmp_path)
    for path in ("_temporary/0", ".cache"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "c.npz").write_bytes(b"")
    assert keys(tmp_path) == KEYS


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nothing", "nothing: is no file and no folder"),
        ("empty", "empty: is a folder without files that end in .parquet, .pq, .npz"),
        ("a.csv", "a.csv: expected a name that ends in .parquet, .pq, .npz"),
        ("none://a", "none://a: Unrecognized filesystem type"),
        ([], r"expected paths or a ray.data.Dataset, got \[\]"),
        (3, "expected paths or a ray.data.Dataset, got 3"),
        ([b"a"], "expected a path or a URI, got b'a'"),
        ("", "expected a path or a URI, got ''"),
    ],
)
def test_wrong_paths_are_refused(tmp_path, monkeypatch, given, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(InvalidArgumentError, match=f"^data: {problem}"):
        files_of(given, None)


def test_files_of_one_name_need_a_root(tmp_path):
    for folder in ("de", "en"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "0.npz", logits=LOGITS, target=TARGET)
    with pytest.raises(InvalidArgumentError, match=r"^root: .*both have the name '0\.npz' in keys"):
        files_of(tmp_path, None)
    assert [file.name for file in files_of(tmp_path, tmp_path)] == ["de/0.npz", "en/0.npz"]


def test_name_that_is_no_text_is_refused(tmp_path):
    np.savez(tmp_path / "a\n.npz", logits=LOGITS, target=TARGET)
    with pytest.raises(InvalidArgumentError, match=r"^data: .*control characters"):
        files_of(tmp_path, None)


def test_root_must_be_above_all_files(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"^root: expected a folder above all files"):
        files_of(save(tmp_path), tmp_path / "deep")


@pytest.mark.parametrize(
    ("columns", "names", "problem"),
    [
        ({"logits": LOGITS}, {}, "has no array named target or .*, but logits: choose with target="),
        ({"logits": LOGITS, "target": TARGET}, {"input": "x"}, "has no array named x, .*: choose with input="),
        ({"logits": LOGITS, "target": TARGET[:9]}, {}, "target has 9 rows, and logits has 120"),
    ],
)
def test_wrong_files_are_refused(tmp_path, columns, names, problem):
    np.savez(tmp_path / "a.npz", **columns)
    with pytest.raises(FileError, match=rf"a\.npz: {problem}"):
        keys(tmp_path, **names)


def test_lists_of_lists_are_refused(tmp_path):
    nested = pa.array([[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]])
    parquet.write_table(pa.table({"logits": nested, "target": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(FileError, match="logits has lists of lists: expected a list of numbers a row"):
        keys(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_damaged_files_are_refused(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"PK\x03\x04 is no file")
    with pytest.raises(FileError, match=rf"a\{suffix}: "):
        keys(tmp_path)
