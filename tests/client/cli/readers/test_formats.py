"""Files of other formats, several files that belong together, and files that are not what their names say."""

import json
import zipfile
from contextlib import closing
from itertools import permutations, product

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet
from safetensors.numpy import save_file

from losswire_client.cli.readers import FileError, Selection, Source, _csv, open_dataset, sources
from tests.client.cli.files import write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((23, 12), np.float32)  # columns of two digits; rows that no chunk size here divides
TARGET = RNG.integers(12, size=23)
HALVES = np.round(LOGITS * 8) / 8  # which text says exactly
TABLE = {f"c{i}": HALVES[:, i] for i in reversed(range(12))} | {"class": TARGET}  # in an order that is not theirs
LISTS = pa.table({"logits": pa.FixedSizeListArray.from_arrays(LOGITS.reshape(-1), 12), "label": TARGET})


def rows_of(path, target_path=None, rows=5, **selection):
    with closing(open_dataset(Source(path, target_path), Selection(**selection))) as dataset:
        batches = list(dataset.batches(rows))
    return tuple(np.concatenate(parts) for parts in zip(*(batch.arguments for batch in batches), strict=True))


def assert_read(found, logits=LOGITS, target=TARGET):
    np.testing.assert_array_equal(found[0], logits)
    np.testing.assert_array_equal(found[1], target)


def refused(path, *more, **selection):
    with pytest.raises(FileError) as error:
        rows_of(path, *more, **selection)
    assert str(error.value).startswith(str(path))
    return str(error.value).removeprefix(f"{path}: ")


def save_arrays(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


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
        ({"logits": "../logits.safetensors"}, "expected names of files beside the index"),
        ({"logits": 3}, "expected names of files beside the index"),
        ([], "expected a weight_map"),
    ],
)
def test_index_that_is_wrong_is_told(weight_map, problem, tmp_path):
    index = save_shards(tmp_path, logits=LOGITS, labels=TARGET)
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert problem in refused(index)


def write_table(path, table):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=7)
    elif path.suffix in (".csv", ".tsv"):
        csv.write_csv(table, path, csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ","))
    elif path.suffix == ".feather":
        feather.write_feather(table, path, chunksize=7)
    else:
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table, max_chunksize=7)
    return path


@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.tsv", "rows.feather", "rows.arrow"])
def test_pattern_gives_classes_by_number(name, rows, tmp_path):
    path = write_table(tmp_path / name, pa.table(TABLE))
    found = rows_of(path, rows=rows, input_columns="c*", target_name="class")
    assert_read(found, HALVES)
    assert found[0].dtype == (np.float64 if name.endswith("sv") else np.float32)
    assert found[1].dtype == np.int64


@pytest.mark.parametrize("name", ["rows.feather", "rows.arrow", "rows.arrows", "rows.ipc"])
def test_lists_of_arrow_are_read(name, tmp_path):
    assert_read(rows_of(write_table(tmp_path / name, LISTS)))


def test_tensors_of_arrow_are_arrays(tmp_path):
    logits = RNG.standard_normal((6, 3, 4), np.float32)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(logits)
    labels = RNG.integers(4, size=(6, 3))
    path = write_table(tmp_path / "rows.arrow", pa.table({"logits": tensors, "labels": pa.array(labels.tolist())}))
    assert_read(rows_of(path, classes_last=True), logits.reshape(-1, 4), labels.reshape(-1))


@pytest.mark.parametrize(
    ("names", "pattern", "problem"),
    [
        (["c0", "c2", "c3"], "c*", "--input-columns c* stands for 3 columns, but none has number 1"),
        (["c1", "c2"], "c*", "--input-columns c* stands for 2 columns, but none has number 0"),
        (["c0", "c99999999999"], "c*", "none has number 1"),
        (["c0", "c1", "comment"], "c*", "stands for both c0 and comment: expected c0, c1 and so on"),
        (["c0", "conf1"], "c*", "stands for both c0 and conf1"),
        (["c1", "c01"], "c*", "stands for both c1 and c01"),
        (["c0", "c1"], "p*", "has no columns like p*, but c0, c1, label: choose with --input-columns"),
        ([], "lab*", "has no columns like lab*, but label"),
    ],
)
def test_pattern_of_no_classes_is_refused(names, pattern, problem, tmp_path):
    path = write_table(tmp_path / "rows.parquet", pa.table({name: [0.5] for name in names} | {"label": [0]}))
    assert problem in refused(path, input_columns=pattern)


def test_pattern_is_for_tables(tmp_path):
    assert "--input-columns is for tables" in refused(write(tmp_path, "npz", {"c0": TARGET}), input_columns="c*")


def test_long_list_of_names_is_shortened(tmp_path):
    names = [f"c{i}" for i in range(300)]
    path = write_table(tmp_path / "rows.parquet", pa.table({name: [0.5] for name in names}))
    listed = refused(path).partition("but ")[2].partition(":")[0]
    *shown, last = listed.split(", ")
    assert set(shown) <= set(names)
    assert last == "c19 and 280 more"


def save_text(folder, text, name="rows.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_kinds_may_change_later_in_csv(monkeypatch, tmp_path):
    monkeypatch.setattr(_csv, "BLOCK_BYTES", 2**8)
    rows = 1_000
    text = "c0,c1,y\n" + "1,2,0\n" * rows + "0.5,NaN,1\n-inf,1e3,2\n"
    input, target = rows_of(save_text(tmp_path, text), rows=30, input_columns="c*")
    np.testing.assert_array_equal(input[rows:], [[0.5, np.nan], [-np.inf, 1000]])
    np.testing.assert_array_equal(target[rows:], [1, 2])
    assert (input.dtype, target.dtype, len(input)) == (np.float64, np.int64, rows + 2)


def test_text_may_be_in_any_encoding(tmp_path):
    (tmp_path / "rows.csv").write_bytes("logits_0,logits_1,y,name\n1,2,0,\xe9\n".encode("latin-1"))
    assert_read(rows_of(tmp_path / "rows.csv"), [[1, 2]], [0])


def test_csv_labels_of_any_kind(tmp_path):
    for labels, dtype in [("1.0,0", np.int64), ("0.5,1", np.float64), ("True,False", np.bool_)]:
        first, second = labels.split(",")
        path = save_text(tmp_path, f"scores,y\n0.25,{first}\n1,{second}\n")
        assert rows_of(path)[1].dtype == dtype


def test_lines_may_be_longer_than_a_block(monkeypatch, tmp_path):
    monkeypatch.setattr(_csv, "BLOCK_BYTES", 2**8)
    classes = 500
    numbers = ",".join(f"0.123{i}" for i in range(classes))
    names = ",".join(f"logits_{i}" for i in range(classes))
    path = save_text(tmp_path, f"label,{names}\n1,{numbers}\n2,{numbers}\n")
    assert rows_of(path)[0].shape == (2, classes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.5,0.25,1\n0.5,0.25,1\n", "expected a first line of names, got 0.5, 0.25, 1"),
        ("c0,c1,y\n1,2,0\n1,2,1\n1,x,0\n", "row 2: CSV conversion error to double: invalid value 'x'"),
        ("c0,c1,y\n1,2,0\n1,2\n", "row 1: Expected 3 columns, got 2"),
        ("c0,c1,y\n1,2,0\n1,2,\n", "y has no value at row 1"),
        ("c0,c1,y\n1,2,0\n,2,1\n", "c0 has no value at row 1"),
        ("c0,c1,y\n1,2,cat\n", "CSV conversion error to double: invalid value 'cat'"),
        ("c0;c1;y\n1;2;0\n", "has no columns like c?"),
        ("c0,c1,c1,y\n1,2,3,0\n", "stands for both c1 and c1"),
    ],
)
def test_wrong_text_is_told_by_its_row(text, problem, tmp_path):
    assert problem in refused(save_text(tmp_path, text), input_columns="c?")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n"
CONTENTS = {
    "is empty, expected ": b"",
    "is text, expected a": b"something else" * 100,
    "is a web page, expected ": b"<!DOCTYPE html>\n<html>Not found</html>",
    "is JSON, expected ": b'{"error": "not found"}',
    "is a Git LFS pointer, in whose place git lfs pull puts the file, expected": LFS,
    "is an HDF5 file, expected": b"\x89HDF\r\n\x1a\n",
    "is compressed by gzip, expected": b"\x1f\x8b\x08\x00",
    "is text in UTF-16, expected": "a,b".encode("utf-16"),
    "is a pickle, expected": b"\x80\x04\x95",
    "is of no known format, expected": b"\x00\x01\x02\xff\xfe" * 10,
}


ELSE = [
    (problem, suffix) for problem in CONTENTS for suffix in ("npz", "npy", "safetensors", "parquet", "arrow", "csv")
]
ELSE.remove(("is text, expected a", "csv"))


@pytest.mark.parametrize(("problem", "suffix"), ELSE)
def test_other_file_is_told_what_it_is(problem, suffix, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(CONTENTS[problem])
    assert refused(path).startswith(problem)


SAVED = ("npz", "safetensors", "parquet", "feather", "arrow", "npy")
WRONG = {*product(SAVED, [*SAVED, "csv"])} - {*zip(SAVED, SAVED, strict=True)} - {*permutations(["feather", "arrow"])}


def saved(folder, suffix):
    path = folder / f"rows.{suffix}"
    if suffix in ("feather", "arrow"):
        return write_table(path, LISTS)
    if suffix == "npy":
        np.save(path, LOGITS)
        return path
    return write(folder, suffix, {"logits": LOGITS, "target": TARGET})


@pytest.mark.parametrize(("suffix", "other"), sorted(WRONG))
def test_misnamed_file_is_told_what_it_is(suffix, other, tmp_path):
    path = saved(tmp_path, suffix).rename(tmp_path / f"renamed.{other}")
    assert refused(path, path).startswith(("is a", "is an"))


@pytest.mark.parametrize("suffix", SAVED)
def test_file_that_is_cut_short_is_told_so(suffix, tmp_path):
    path = saved(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-40])
    assert "ends early" in refused(path, path) or "ends before its last row" in refused(path, path)


def test_unended_stream_is_refused(tmp_path):
    with (tmp_path / "rows.arrow").open("wb") as file, pa.ipc.new_stream(file, LISTS.schema) as out:
        out.write_table(LISTS)
    path = tmp_path / "rows.arrow"
    path.write_bytes(path.read_bytes()[:-8])  # of which pyarrow says nothing
    assert "ends early" in refused(path)


def test_checkpoint_of_torch_is_told_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("rows/data.pkl", b"")
    assert refused(tmp_path / "rows.npz") == "is a file of torch.save, expected a zip"


def test_archive_of_nothing_has_no_arrays(tmp_path):
    np.savez(tmp_path / "rows.npz")
    assert "but nothing: choose with --input-name" in refused(tmp_path / "rows.npz")


def test_unnamed_file_is_told_what_it_is(tmp_path):
    path = write(tmp_path, "safetensors", {"logits": LOGITS}).rename(tmp_path / "rows.bin")
    assert refused(path).endswith(", and it is a safetensors file")


def test_folder_of_one_kind_is_its_files(tmp_path):
    for i in (10, 9, 1):
        write_table(tmp_path / f"part-{i}.parquet", LISTS)
    save_text(tmp_path, "notes", "README.md")
    assert [source.path.name for source in sources([tmp_path])] == [
        "part-1.parquet",
        "part-9.parquet",
        "part-10.parquet",
    ]
    assert sources([tmp_path / "part-1.parquet"]) == [Source(tmp_path / "part-1.parquet")]


def test_folder_of_other_things_is_told_so(tmp_path):
    assert sources([tmp_path]) == [Source(tmp_path)]
    assert refused(tmp_path).startswith("is a folder without files that end in .npz")
    save_text(tmp_path, "notes", "README.md")
    assert refused(tmp_path).endswith("but of README.md")
    saved(tmp_path, "npz")
    saved(tmp_path, "parquet")
    assert refused(tmp_path) == "is a folder of files of several kinds (.npz, .parquet): name them one by one"


def test_pairs_have_one_target_or_one_each(tmp_path):
    a, b, y = (tmp_path / name for name in "aby")
    assert sources([a, b], [y]) == [Source(a, y), Source(b, y)]
    assert sources([a, b], [b, y]) == [Source(a, b), Source(b, y)]
