"""Files whose rows are sequences: shifted, masked, of different lengths."""

from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from losswire_client._readers import FileError, Selection, Source, open_dataset, told_place

RNG = np.random.default_rng(0)
LENGTHS = (3, 0, 1, 7, 2)  # one sequence is empty, and one is empty after a shift
CLASSES = 5
SEQUENCES = [RNG.standard_normal((length, CLASSES), np.float32) for length in LENGTHS]
LABELS = [RNG.integers(CLASSES, size=length) for length in LENGTHS]
MASKS = [RNG.integers(2, size=length) for length in LENGTHS]
LOGITS = RNG.standard_normal((4, 6, CLASSES), np.float32)
TARGET = RNG.integers(CLASSES, size=(4, 6))
MASK = RNG.integers(2, size=(4, 6))


def opened(path, **selection):
    return closing(open_dataset(Source(path), Selection(**selection)))


def rows_of(path, rows, **selection):
    """Input, targets, and the places of both in the file."""
    with opened(path, **selection) as dataset:
        batches = list(dataset.batches(rows))
        masked = dataset.masked_count
        targets = np.concatenate(list(dataset.targets(rows)))
        assert dataset.masked_count == masked
    assert all(0 < len(batch.input) <= rows for batch in batches)
    input, target = (np.concatenate([batch[i] for batch in batches]) for i in range(2))
    np.testing.assert_array_equal(target, targets)
    numbered = [(batch, i) for batch in batches for i in range(len(batch.target))]
    places = [batch.place(i, batch.target.shape) for batch, i in numbered]
    target_places = [batch.place(i, batch.target.shape, of_target=True) for batch, i in numbered]
    return input, target, places, target_places, masked


def expected(sequences, labels, masks, shift):
    """The expected rows, made row by row."""
    kept = [
        (s, position - shift, position)
        for s, sequence in enumerate(sequences)
        for position in range(shift, len(sequence))
        if masks[s][position]
    ]
    input = np.array([sequences[s][i] for s, i, _ in kept])
    return input, np.array([labels[s][j] for s, _, j in kept]), [k[:2] for k in kept], [(k[0], k[2]) for k in kept]


def assert_read(found, wanted):
    for a, b in zip(found[:2], wanted[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[2:4] == (wanted[2], wanted[3])


def ragged(format, folder, kind=pa.list_):
    """Lists of lists of any kind, in pieces that fit no chunk."""
    lists = pa.array([s.tolist() for s in SEQUENCES], kind(kind(pa.float32())))
    table = pa.table({"logits": lists, "labels": LABELS, "attention_mask": MASKS})
    path = folder / f"rows.{format}"
    if format == "parquet":
        parquet.write_table(table, path, row_group_size=2)
        return path
    writer = pa.ipc.new_stream if format == "arrow" else pa.ipc.new_file
    with writer(path, table.schema) as out:
        out.write_table(table, max_chunksize=2)
    return path


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("format", ["parquet", "arrow", "feather"])
def test_lists_of_lists_are_sequences(format, shift, masked, rows, tmp_path):
    selection = {"shift": shift, "mask_name": "attention_mask" if masked else None}
    masks = MASKS if masked else [np.ones(length) for length in LENGTHS]
    found = rows_of(ragged(format, tmp_path), rows, **selection)
    assert_read(found, expected(SEQUENCES, LABELS, masks, shift))
    assert found[-1] == sum(int(np.sum(mask[shift:] == 0)) for mask in masks)


@pytest.mark.parametrize("kind", [pa.large_list, lambda item: pa.list_(item, CLASSES)])
def test_other_lists_are_sequences_too(kind, tmp_path):
    lists = pa.array([s.tolist() for s in SEQUENCES], pa.list_(kind(pa.float32())))
    parquet.write_table(pa.table({"logits": lists, "labels": LABELS}), tmp_path / "rows.parquet")
    found = rows_of(tmp_path / "rows.parquet", 4, shift=True)
    assert_read(found, expected(SEQUENCES, LABELS, [np.ones(n) for n in LENGTHS], 1))


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shift", [False, True])
def test_arrays_are_shifted_and_masked(shift, masked, rows, tmp_path):
    np.savez(tmp_path / "rows.npz", logits=LOGITS, labels=TARGET, attention_mask=MASK)
    selection = {"shift": shift, "classes_last": True, "mask_name": "attention_mask" if masked else None}
    found = rows_of(tmp_path / "rows.npz", rows, **selection)
    assert_read(found, expected(LOGITS, TARGET, MASK if masked else np.ones_like(MASK), shift))


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 100])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("format", ["npz", "csv"])
def test_single_positions_are_one_sequence(format, masked, rows, tmp_path):
    logits, labels, mask = LOGITS[0].astype(np.float64), TARGET[0], MASK[1] if masked else np.ones(6, int)
    path = tmp_path / f"rows.{format}"
    if format == "npz":
        np.savez(path, logits=logits, labels=labels, mask=mask)
    else:
        columns = {f"logits_{i}": logits[:, i] for i in range(CLASSES)} | {"labels": labels, "mask": mask}
        csv.write_csv(pa.table(columns), path)
    found = rows_of(path, rows, shift=True, mask_name="mask" if masked else None)
    input, target, places, target_places = expected([logits], [labels], [mask], 1)
    assert_read(found, (input, target, [p[1:] for p in places], [p[1:] for p in target_places]))


def test_mask_of_torch_has_no_classes(tmp_path):
    logits, mask = np.moveaxis(LOGITS, 2, 1), MASK
    np.savez(tmp_path / "rows.npz", logits=logits, labels=TARGET, mask=mask)
    found = rows_of(tmp_path / "rows.npz", 7, mask_name="mask")
    assert_read(found, expected(LOGITS, TARGET, mask, 0))


def test_mask_of_images_names_all_dimensions(tmp_path):
    logits, target = RNG.standard_normal((3, CLASSES, 2, 4)), RNG.integers(CLASSES, size=(3, 2, 4))
    mask = RNG.integers(2, size=(3, 2, 4)).astype(bool)
    np.savez(tmp_path / "rows.npz", logits=logits, labels=target, mask=mask)
    input, labels, places, _, masked = rows_of(tmp_path / "rows.npz", 5, mask_name="mask")
    np.testing.assert_array_equal(input, np.moveaxis(logits, 1, -1)[mask])
    np.testing.assert_array_equal(labels, target[mask])
    assert places == list(zip(*np.nonzero(mask), strict=True))
    assert masked == np.sum(~mask)


def test_masks_are_for_binary_losses_too(tmp_path):
    scores, target = RNG.random((6, 3)), RNG.integers(2, size=(6, 3))
    rows, elements = np.array([1, 0, 1, 1, 0, 0], np.int8), RNG.integers(2, size=(6, 3)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", scores=scores, y=target, rows=rows, elements=elements)
    np.testing.assert_array_equal(rows_of(tmp_path / "rows.npz", 2, mask_name="rows")[0], scores[rows == 1])
    np.testing.assert_array_equal(rows_of(tmp_path / "rows.npz", 2, mask_name="elements")[0], scores[elements == 1])


def test_probabilities_are_shifted_too(tmp_path):
    target = RNG.random((4, 6, CLASSES))
    np.savez(tmp_path / "rows.npz", logits=LOGITS, labels=target, attention_mask=MASK)
    with opened(tmp_path / "rows.npz", shift=True, mask_name="attention_mask") as dataset:
        found = np.concatenate([batch.target for batch in dataset.batches(4)])
    np.testing.assert_array_equal(found, target[:, 1:][MASK[:, 1:] == 1])


@pytest.mark.parametrize("shape", [(0, 2, 4), (3, 0, 4), (3, 1, 0), (3, 1, 4)])
def test_empty_sequences_have_no_rows(shape, tmp_path):
    np.savez(tmp_path / "rows.npz", logits=np.zeros(shape), labels=np.zeros(shape[:2], int))
    with opened(tmp_path / "rows.npz", shift=True) as dataset:
        assert list(dataset.batches(3)) == []


@pytest.mark.parametrize("shift", [False, True])
def test_mask_that_leaves_nothing(shift, tmp_path):
    np.savez(tmp_path / "rows.npz", logits=LOGITS, labels=TARGET, mask=MASK * 0)
    with opened(tmp_path / "rows.npz", shift=shift, classes_last=True, mask_name="mask") as dataset:
        assert list(dataset.batches(3)) == []
        assert dataset.masked_count == 24 - 4 * shift


@pytest.mark.parametrize(
    ("arrays", "selection", "problem"),
    [
        ({"labels": TARGET[:, :-1]}, {"classes_last": True}, "labels has shape (4, 5), expected (4, 6), one for each"),
        ({"labels": TARGET[:, 1:]}, {"shift": True}, "; targets that are shifted already need no --shift"),
        ({"mask": MASK[:, 1:]}, {"classes_last": True}, "mask has shape (4, 5), expected (4, 6)"),
        ({}, {}, "labels has shape (4, 6), expected (4, 5)"),
        ({}, {}, "if its classes are last, say --classes-last"),
        ({"mask": MASK[0]}, {}, "logits has 4 rows, and mask has 6"),
        ({"mask": MASK[:, 0]}, {}, "mask has shape (4,), expected one for each row of logits of shape (4, 6, 5)"),
        ({"mask": MASK * 2 + 1}, {"shift": True}, "expected 1 (counts) and 0 (does not) in mask, got "),
        ({"logits": LOGITS[:, 0, 0], "labels": TARGET[:, 0]}, {"shift": True}, "expected an input of shape (positions"),
        ({"logits": LOGITS[None], "labels": TARGET[None], "mask": MASK[None]}, {"shift": True}, "or (rows, positions"),
        ({}, {"mask_name": "padding"}, "has no array named padding, but logits, labels, mask: choose with --mask-name"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, selection, problem, tmp_path):
    np.savez(tmp_path / "rows.npz", **{"logits": LOGITS, "labels": TARGET, "mask": MASK} | arrays)
    with (
        pytest.raises(FileError) as error,
        opened(tmp_path / "rows.npz", **{"mask_name": "mask"} | selection) as dataset,
    ):
        list(dataset.batches(3))
    assert str(error.value).startswith(str(tmp_path / "rows.npz"))
    assert problem in str(error.value)


def test_wrong_mask_is_told_by_its_place(tmp_path):
    mask = MASK.copy()
    mask[3, 2] = -1
    np.savez(tmp_path / "rows.npz", logits=LOGITS, labels=TARGET, mask=mask)
    with pytest.raises(FileError, match="in mask, got -1 at row 3, position 2"):
        rows_of(tmp_path / "rows.npz", 5, classes_last=True, mask_name="mask")
    np.savez(tmp_path / "rows.npz", logits=LOGITS[3], labels=TARGET[3], mask=mask[3])
    with pytest.raises(FileError, match="in mask, got -1 at row 2"):
        rows_of(tmp_path / "rows.npz", 5, shift=True, mask_name="mask")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"labels": [*LABELS[:3], LABELS[3][:-1], LABELS[4]]}, "logits has 7 positions at row 3, and labels has 6"),
        ({"labels": [*LABELS[:3], None, LABELS[4]]}, "labels has no value at row 3"),
        ({"labels": [*map(list, LABELS[:4]), [1, None]]}, "labels has no value at row 4, position 1"),
        ({"attention_mask": [*MASKS[:4], [1]]}, "labels has 2 positions at row 4, and attention_mask has 1"),
        ({"labels": [0] * 5}, "labels has one number a row, expected a sequence"),
        ({"logits": [[[1.0]], [], None, [], []]}, "logits has no value at row 2"),
        ({"logits": [[[1.0]], [], [None], [], []]}, "logits has no value at row 2, position 0"),
        ({"logits": [[[1.0, 2.0]], [], [[1.0, None]], [], []]}, "logits has no value at row 2, position 0"),
        ({"logits": [[[1.0, 2.0]], [], [[1.0]], [], []]}, "logits has 1 numbers at row 2, position 0, and before it 2"),
        ({"logits": [[[[1.0]]]] * 5}, "expected numbers, lists or lists of lists in logits, got lists 3 deep"),
        ({"logits": [[["a"]]] * 5}, "expected floating-point numbers in logits, got object"),
    ],
)
@pytest.mark.parametrize("rows", [1, 100])
def test_sequences_that_do_not_fit_are_named(changed, problem, rows, tmp_path):
    columns = {"logits": [s.tolist() for s in SEQUENCES], "labels": LABELS, "attention_mask": MASKS} | changed
    if "logits" in changed:
        columns["labels"] = columns["attention_mask"] = [[1] * len(row or []) for row in changed["logits"]]
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(FileError) as error:
        rows_of(tmp_path / "rows.parquet", rows, mask_name="attention_mask")
    assert problem in str(error.value)


def test_place_is_told_as_people_count():
    assert [told_place(place) for place in ((3,), (3, 5), (3, 1, 2))] == [
        "row 3",
        "row 3, position 5",
        "row 3, position (1, 2)",
    ]
