from contextlib import closing

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from losswire_client._readers import FileError, Selection, Source, open_dataset
from tests.client.cli.files import FORMATS, Arrays, write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((23, 12), np.float32)  # columns of two digits; rows that no chunk size here divides
TARGET = RNG.integers(12, size=23)


def rows_of(path, rows, **names):
    with closing(open_dataset(Source(path), Selection(**names))) as dataset:
        batches = [batch.arguments for batch in dataset.batches(rows)]
        targets = np.concatenate(list(dataset.targets(rows)))
    input, target = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(targets, target)
    assert [len(batch.input) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    return input, target


@pytest.mark.parametrize("rows", [1, 5, 23, 100])
@pytest.mark.parametrize("format", FORMATS)
def test_rows_come_as_they_were_written(format, rows, tmp_path):
    input, target = rows_of(write(tmp_path, format, {"logits": LOGITS, "target": TARGET}), rows)
    np.testing.assert_array_equal(input, LOGITS)
    np.testing.assert_array_equal(target, TARGET)
    assert (input.dtype, target.dtype) == (LOGITS.dtype, TARGET.dtype)


@pytest.mark.parametrize("format", FORMATS)
def test_shape_is_known_beforehand(format, tmp_path):
    with closing(open_dataset(Source(write(tmp_path, format, {"logits": LOGITS, "target": TARGET})))) as dataset:
        assert (dataset.input_shape, dataset.row_bytes) == ((23, 12), 48)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_dtypes_of_logits_are_kept(dtype, tmp_path):
    logits = LOGITS.astype(dtype)
    input, _ = rows_of(write(tmp_path, "safetensors", {"logits": logits, "target": TARGET}), 10)
    np.testing.assert_array_equal(input, logits)
    assert input.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_, np.float32])
@pytest.mark.parametrize("format", FORMATS)
def test_other_dtypes_of_targets_are_kept(format, dtype, tmp_path):
    _, target = rows_of(write(tmp_path, format, {"logits": LOGITS, "target": TARGET.astype(dtype)}), 10)
    np.testing.assert_array_equal(target, TARGET.astype(dtype))
    assert target.dtype == dtype


@pytest.mark.parametrize("format", ["npz", "compressed.npz", "safetensors"])
def test_more_dimensions_are_kept(format, tmp_path):
    logits = RNG.standard_normal((7, 3, 4))
    input, _ = rows_of(write(tmp_path, format, {"logits": logits, "target": np.zeros((7, 4), np.int64)}), 2)
    np.testing.assert_array_equal(input, logits)


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_lists_of_any_kind_in_parquet(kind, tmp_path):
    logits = pa.array(LOGITS.tolist(), kind(pa.float32()))
    parquet.write_table(pa.table({"logits": logits, "y": TARGET}), tmp_path / "rows.pq")
    np.testing.assert_array_equal(rows_of(tmp_path / "rows.pq", 10)[0], LOGITS)


@pytest.mark.parametrize("format", FORMATS)
def test_file_without_rows_is_read(format, tmp_path):
    path = write(tmp_path, format, {"logits": LOGITS[:0], "target": TARGET[:0]})
    with closing(open_dataset(Source(path))) as dataset:
        assert dataset.row_bytes == 0
        assert sum(len(batch.input) for batch in dataset.batches(10)) == 0


@pytest.mark.parametrize(("input_name", "target_name"), [("log_probs", "label"), ("scores", "y"), ("input", "targets")])
def test_usual_names_are_found(input_name, target_name, tmp_path):
    input, _ = rows_of(write(tmp_path, "npz", {input_name: LOGITS, target_name: TARGET, "other": TARGET}), 10)
    np.testing.assert_array_equal(input, LOGITS)


@pytest.mark.parametrize("format", FORMATS)
def test_names_that_are_given_are_taken(format, tmp_path):
    arrays: Arrays = {"logits": LOGITS * 0, "mine": LOGITS, "target": TARGET * 0, "truth": TARGET}
    input, target = rows_of(write(tmp_path, format, arrays), 10, input_name="mine", target_name="truth")
    np.testing.assert_array_equal(input, LOGITS)
    np.testing.assert_array_equal(target, TARGET)


@pytest.mark.parametrize(
    ("arrays", "names", "problem"),
    [
        (
            {"a": LOGITS, "b": TARGET},
            {},
            "has no array named logits or .*, but a, b: choose with --input-name",
        ),
        (
            {"last_hidden_state": LOGITS, "target": TARGET},
            {},
            "has no array .*; if last_hidden_state are what the name says, hidden states need a head$",
        ),
        ({"logits": LOGITS}, {}, "has no array named target or .*, but logits: choose with --target-name"),
        ({"logits": LOGITS, "y": TARGET}, {"input_name": "x"}, "has no array named x, but logits, y"),
        ({"logits": LOGITS, "probs": LOGITS, "y": TARGET}, {}, "has both logits and probs: choose with --input-name"),
        ({"logits": LOGITS, "target": TARGET[:-1]}, {}, "logits has 23 rows, and target has 22"),
        ({"logits": LOGITS.astype(int), "target": TARGET}, {}, "expected floating-point numbers in logits, got int64"),
        ({"logits": LOGITS, "target": TARGET.astype("U")}, {}, "expected numbers in target, got <U21"),
        ({"logits": LOGITS, "target": TARGET.astype(object)}, {}, "target holds Python objects"),
        ({"logits": LOGITS, "target": np.int64(3)}, {}, "target is one number, without rows"),
    ],
)
def test_arrays_that_will_not_do_are_named(arrays, names, problem, tmp_path):
    path = write(tmp_path, "npz", arrays)
    with pytest.raises(FileError, match=f"{path}: {problem}"):
        open_dataset(Source(path), Selection(**names))


@pytest.mark.parametrize("format", ["npz", "compressed.npz", "safetensors"])
def test_unequal_lengths_are_refused(format, tmp_path):
    path = write(tmp_path, format, {"logits": LOGITS, "target": TARGET[:-1]})
    with pytest.raises(FileError, match="logits has 23 rows, and target has 22"):
        open_dataset(Source(path))


@pytest.mark.parametrize(
    ("logits", "problem"),
    [
        ([[1.0, 2.0], None], "logits has no value at row 1"),
        ([[1.0, 2.0], [1.0, None]], "logits has no value at row 1"),
        ([[1.0, 2.0], [1.0]], "logits has 1 numbers at row 1, and before it 2"),
        (["a", "b"], "expected floating-point numbers in logits, got object"),
    ],
)
@pytest.mark.parametrize("rows", [1, 2])  # in one chunk, and from one chunk to the next
def test_columns_that_will_not_do_are_named(logits, problem, rows, tmp_path):
    parquet.write_table(pa.table({"logits": logits, "target": [0, 1]}), tmp_path / "rows.parquet")
    with pytest.raises(FileError, match=problem):
        rows_of(tmp_path / "rows.parquet", rows)


def test_missing_class_makes_no_logits(tmp_path):
    parquet.write_table(pa.table({"logits_0": [0.0], "logits_2": [0.0], "target": [0]}), tmp_path / "rows.parquet")
    with pytest.raises(FileError, match="but logits_0, logits_2, target"):
        open_dataset(Source(tmp_path / "rows.parquet"))


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_file_is_named(format, tmp_path):
    path = write(tmp_path, format, {"logits": LOGITS, "target": TARGET})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FileError, match=str(path)):
        rows_of(path, 10)


def test_truncated_array_is_named(tmp_path):
    path = write(tmp_path, "npz", {"logits": LOGITS, "target": TARGET})
    path.write_bytes(path.read_bytes().replace(b"(23, 12)", b"(99, 12)").replace(b"(23,)", b"(99,)"))
    with pytest.raises(FileError, match="logits ends before its last row"):
        rows_of(path, 99)


def test_damaged_array_is_named(tmp_path):
    path = write(tmp_path, "compressed.npz", {"logits": LOGITS, "target": TARGET})
    data = bytearray(path.read_bytes())
    data[400] ^= 255
    path.write_bytes(data)
    with pytest.raises(FileError, match=str(path)):
        rows_of(path, 10)


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet"])
def test_other_file_is_named(suffix, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(FileError, match=str(path)):
        open_dataset(Source(path))


@pytest.mark.parametrize("name", ["rows.h5", "rows"])
def test_file_of_no_known_format_is_refused(name, tmp_path):
    with pytest.raises(FileError, match=r"expected a name that ends in \.npz, \.npy, \.safetensors, \.parquet"):
        open_dataset(Source(tmp_path / name))


def test_dtype_without_a_loss_is_refused(tmp_path):
    save_file({"logits": LOGITS.astype(ml_dtypes.float8_e4m3fn), "target": TARGET}, tmp_path / "rows.safetensors")
    with pytest.raises(FileError, match="logits is of dtype F8_E4M3, which is not read"):
        open_dataset(Source(tmp_path / "rows.safetensors"))
