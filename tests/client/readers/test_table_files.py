"""Tables whose classes are columns, and columns of Arrow that are lists and tensors."""

import numpy as np
import pyarrow as pa
import pytest

from tests.client.cli.files import write
from tests.client.readers.reading import LISTS, LOGITS, RNG, TARGET, assert_read, refused, rows_of, write_table

HALVES = np.round(LOGITS * 8) / 8  # text holds these numbers exactly
TABLE = {f"c{i}": HALVES[:, i] for i in reversed(range(12))} | {"class": TARGET}  # the columns are in reverse order


@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.tsv", "rows.feather", "rows.arrow"])
def test_pattern_gives_classes_by_number(name, rows, tmp_path):
    path = write_table(tmp_path / name, pa.table(TABLE))
    found = rows_of(path, rows=rows, input_columns="c*", target_name="class")
    assert_read(found, HALVES)
    assert found[0].dtype == (np.float64 if name.endswith("sv") else np.float32)
    assert found[1].dtype == np.int64


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


@pytest.mark.parametrize("name", ["rows.feather", "rows.arrow", "rows.arrows", "rows.ipc"])
def test_lists_of_arrow_are_read(name, tmp_path):
    assert_read(rows_of(write_table(tmp_path / name, LISTS)))


def test_tensors_of_arrow_are_arrays(tmp_path):
    logits = RNG.standard_normal((6, 3, 4), np.float32)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(logits)
    labels = RNG.integers(4, size=(6, 3))
    path = write_table(tmp_path / "rows.arrow", pa.table({"logits": tensors, "labels": pa.array(labels.tolist())}))
    assert_read(rows_of(path, classes_last=True), logits.reshape(-1, 4), labels.reshape(-1))
