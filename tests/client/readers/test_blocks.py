"""Blocks of the rows of a file, read from the middle on."""

from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from losswire_client._readers import FileError, Selection, Source, open_dataset
from tests.client.cli.files import write
from tests.client.readers.reading import LOGITS, TARGET, save_text, saved, write_table

FORMATS = ("npz", "compressed.npz", "safetensors", "parquet", "columns.parquet", "feather", "arrow")
LENGTHS = (3, 0, 1, 7, 2)  # the second sequence has nothing to predict
COLUMN_MAJOR: dict[str, Any] = {"logits": np.asfortranarray(LOGITS), "target": TARGET}


def opened(path, **selection):
    return closing(open_dataset(Source(path), Selection(**selection)))


def sequences(folder):
    """A table of sequences, shifted and masked, in groups of rows that fit no block."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "logits": [rng.standard_normal((length, 4)).tolist() for length in LENGTHS],
            "labels": [rng.integers(4, size=length).tolist() for length in LENGTHS],
            "mask": [rng.integers(2, size=length).tolist() for length in LENGTHS],
        }
    )
    path = folder / "sequences.parquet"
    parquet.write_table(table, path, row_group_size=2)
    return path


@pytest.mark.parametrize("start", [0, 5, 15, 20])
@pytest.mark.parametrize("format", FORMATS)
def test_blocks_begin_at_any_row(format, start, tmp_path):
    with opened(saved(tmp_path, format)) as dataset:
        blocks = list(dataset.blocks(5, start))
    assert [len(block.target) for block in blocks] == [5] * ((22 - start) // 5) + [3]
    np.testing.assert_array_equal(np.concatenate([block.input for block in blocks]), LOGITS[start:])
    np.testing.assert_array_equal(np.concatenate([block.target for block in blocks]), TARGET[start:])
    assert blocks[0].place(1, (5,)) == (start + 1,)


@pytest.mark.parametrize("format", ["npz", "compressed.npz"])
def test_blocks_of_column_major_arrays_begin_at_any_row(format, tmp_path):
    with opened(write(tmp_path, format, COLUMN_MAJOR)) as dataset:
        np.testing.assert_array_equal(next(iter(dataset.blocks(5, 10))).input, LOGITS[10:15])


def test_blocks_of_text_begin_at_any_row(tmp_path):
    table = pa.table({**{f"logits_{i}": LOGITS[:, i] for i in range(12)}, "target": TARGET})
    with opened(write_table(tmp_path / "rows.csv", table)) as dataset:
        np.testing.assert_allclose(next(iter(dataset.blocks(5, 10))).input, LOGITS[10:15], rtol=1e-6)


@pytest.mark.parametrize("shift", [False, True])
def test_block_of_sequences_has_the_positions_of_its_rows(shift, tmp_path):
    with opened(sequences(tmp_path), shift=shift, mask_name="mask") as dataset:
        whole = list(dataset.blocks(len(LENGTHS), 0))
        (rows,) = [part.input_positions.places(np.arange(len(part.target)))[0] for part in whole]
        for start in (0, 2, 4):
            blocks = list(dataset.blocks(2, start))
            assert len(blocks) == 3 - start // 2
            later = rows >= start
            np.testing.assert_array_equal(np.concatenate([block.input for block in blocks]), whole[0].input[later])
            np.testing.assert_array_equal(np.concatenate([block.target for block in blocks]), whole[0].target[later])
            places = np.concatenate([b.input_positions.places(np.arange(len(b.target)))[0] for b in blocks])
            np.testing.assert_array_equal(places, rows[later])


def test_blocks_of_one_sequence_predict_across_their_ends(tmp_path):
    path = write(tmp_path, "npz", {"logits": LOGITS, "labels": TARGET})
    with opened(path, shift=True) as dataset:
        blocks = list(dataset.blocks(11, 11))
    np.testing.assert_array_equal(blocks[0].target, TARGET[12:23])
    assert [len(block.target) for block in blocks] == [11, 0]  # nothing follows the last position


@pytest.mark.parametrize(
    ("format", "is_seekable"),
    [("npz", True), ("compressed.npz", False), ("safetensors", True), ("parquet", True), ("feather", True)],
)
def test_formats_that_are_read_from_their_beginning_say_so(format, is_seekable, tmp_path):
    with opened(saved(tmp_path, format)) as dataset:
        assert dataset.is_seekable is is_seekable


def test_one_group_of_rows_is_read_from_its_beginning(tmp_path):
    path = write(tmp_path, "parquet", {"logits": LOGITS, "target": TARGET}, row_group_size=100)
    with opened(path) as dataset:
        assert not dataset.is_seekable
        np.testing.assert_array_equal(next(iter(dataset.blocks(5, 10))).input, LOGITS[10:15])


def test_labels_are_text_or_numbers(tmp_path):
    domains = np.array(["news", "code"] * 11 + ["news"])
    arrays: dict[str, Any] = {"logits": LOGITS, "target": TARGET, "domain": domains, "year": np.arange(23)}
    with opened(write(tmp_path, "npz", arrays)) as dataset:
        assert np.concatenate(list(dataset.labels("domain", "--slice-by", 5, 5))).tolist() == domains[5:].tolist()
        assert next(dataset.labels("year", "--slice-by", 5)).tolist() == [0, 1, 2, 3, 4]


def test_labels_of_text_are_as_they_are_written(tmp_path):
    path = save_text(tmp_path, "logits_0,logits_1,target,domain\n1,2,0,news\n2,1,1,007\n")
    with opened(path) as dataset:
        assert list(next(dataset.labels("domain", "--slice-by", 5))) == ["news", "007"]


def test_labels_that_are_no_column_are_refused(tmp_path):
    with opened(saved(tmp_path, "npz")) as dataset, pytest.raises(FileError, match="one name a row in logits"):
        next(dataset.labels("logits", "--slice-by", 5))
