"""Numbers as text, and text that is wrong."""

import numpy as np
import pytest

from losswire_client._readers import _csv
from tests.client.readers.reading import assert_read, refused, rows_of, save_text


def test_kinds_may_change_later_in_csv(monkeypatch, tmp_path):
    monkeypatch.setattr(_csv, "BLOCK_BYTES", 2**8)
    rows = 1_000
    text = "c0,c1,y\n" + "1,2,0\n" * rows + "0.5,NaN,1\n-inf,1e3,2\n"
    input, target = rows_of(save_text(tmp_path, text), rows=30, input_columns="c*")
    np.testing.assert_array_equal(input[rows:], [[0.5, np.nan], [-np.inf, 1000]])
    np.testing.assert_array_equal(target[rows:], [1, 2])
    assert (input.dtype.name, target.dtype.name, len(input)) == ("float64", "int64", rows + 2)


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
