from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from losswire_client._readers import FileError
from losswire_client._readers.sides import Choice, Form, PairChoice, PairSource, open_pair
from tests.client.cli.files import FORMATS, write

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 23, 12), np.float32)  # rows that no batch size here divides
LABELS = RNG.integers(12, size=23)


def read(source, rows=5, start=0, **choice):
    with closing(open_pair(source, PairChoice(**choice))) as pair:
        return list(pair.batches(rows, start))


def joined(batches, name):
    return np.concatenate([getattr(batch, name) for batch in batches])


def refused(source, **choice):
    with pytest.raises(FileError) as error:
        read(source, **choice)
    return str(error.value)


def save(folder, name, **arrays):
    np.savez(folder / name, **arrays)
    return folder / name


@pytest.mark.parametrize("format", FORMATS)
def test_rows_of_both_files_come_side_by_side(format, tmp_path):
    (tmp_path / "b").mkdir()
    source = PairSource(
        write(tmp_path, format, {"logits": A, "label": LABELS}), write(tmp_path / "b", format, {"logits": B})
    )
    batches = read(source)
    assert [len(batch.indices) for batch in batches] == [5, 5, 5, 5, 3]
    for name, expected in {"reference": A, "candidate": B, "labels": LABELS, "indices": np.arange(23)}.items():
        np.testing.assert_array_equal(joined(batches, name), expected)
    np.testing.assert_array_equal(joined(read(source, start=7), "reference"), A[7:])
    np.testing.assert_array_equal(joined(read(source, start=7), "labels"), LABELS[7:])


def test_positions_of_sequences_are_rows_in_any_grouping(tmp_path):
    a = save(tmp_path, "a.npz", logits=A[:20].reshape(4, 5, 12), labels=LABELS[:20].reshape(4, 5))
    b = save(tmp_path, "b.npz", logits=B[:20])
    for start in (0, 3, 5, 19):
        batches = read(PairSource(a, b), rows=3, start=start)
        np.testing.assert_array_equal(joined(batches, "reference"), A[start:20])
        np.testing.assert_array_equal(joined(batches, "candidate"), B[start:20])
        np.testing.assert_array_equal(joined(batches, "labels"), LABELS[start:20])
        np.testing.assert_array_equal(joined(batches, "indices"), np.arange(start, 20))


def lists(array, lengths):
    return [part.tolist() for part in np.split(array[: sum(lengths)], np.cumsum(lengths)[:-1])]


def test_sequences_may_differ_in_length(tmp_path):
    lengths = [4, 1, 7, 3]
    table = {"logits": lists(A, lengths), "labels": lists(LABELS, lengths)}
    parquet.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=2)
    b = save(tmp_path, "b.npz", logits=B[:15])
    batches = read(PairSource(tmp_path / "a.parquet", b), rows=4, start=2)
    np.testing.assert_array_equal(joined(batches, "reference"), A[2:15])
    np.testing.assert_array_equal(joined(batches, "labels"), LABELS[2:15])
    more = save(tmp_path, "more.npz", logits=B[:16])
    told = refused(PairSource(tmp_path / "a.parquet", more))
    assert told.endswith(f"has 15 rows, and logits of {more} has 16 or more")


@pytest.mark.parametrize("labels", [LABELS[:20], LABELS[:20].reshape(5, 4)])
def test_shift_needs_the_sequences_of_the_rows(labels, tmp_path):
    a = save(tmp_path, "a.npz", logits=A[:20].reshape(4, 5, 12), labels=labels)
    told = refused(PairSource(a, a), shift=True)
    assert f"labels has sequences of shape {labels.shape[1:]}, and logits of {a} of (5,): with --shift" in told


def test_labels_that_would_wrap_around_are_refused(tmp_path):
    labels = LABELS.astype(np.uint64) + np.uint64(2**63)
    a = save(tmp_path, "a.npz", logits=A, labels=labels)
    assert f"expected classes that fit int64 in labels, got {labels[:5].max()}" in refused(PairSource(a, a))


@pytest.mark.parametrize("in_lists", [False, True])
def test_shift_gives_rows_the_next_label(in_lists, tmp_path):
    labels, mask = LABELS[:20].reshape(4, 5), RNG.integers(2, size=(4, 5))
    arrays = {"logits": A[:20].reshape(4, 5, 12), "labels": labels, "mask": mask}
    if in_lists:
        parquet.write_table(pa.table({k: v.tolist() for k, v in arrays.items()}), tmp_path / "a.parquet")
        a = tmp_path / "a.parquet"
    else:
        a = save(tmp_path, "a.npz", **arrays)
    b = save(tmp_path, "b.npz", logits=B[:20])
    batches = read(PairSource(a, b), rows=3, shift=True, mask_name="mask")
    counts = np.zeros((4, 5), bool)
    counts[:, :-1] = mask[:, 1:] == 1
    kept = np.flatnonzero(counts)
    np.testing.assert_array_equal(joined(batches, "indices"), kept)
    np.testing.assert_array_equal(joined(batches, "labels"), np.roll(LABELS[:20], -1)[kept])
    np.testing.assert_array_equal(joined(batches, "candidate"), B[kept])
    assert sum(batch.masked_count for batch in batches) == (mask[:, 1:] == 0).sum()


def test_rows_of_a_matrix_are_one_sequence(tmp_path):
    source = PairSource(save(tmp_path, "a.npz", logits=A, labels=LABELS), save(tmp_path, "b.npz", logits=B))
    for start in (0, 4):
        batches = read(source, start=start, shift=True)
        np.testing.assert_array_equal(joined(batches, "labels"), LABELS[start + 1 :])
        np.testing.assert_array_equal(joined(batches, "candidate"), B[start:-1])


def test_probabilities_are_read_as_logarithms(tmp_path):
    probs = np.exp(A) / np.exp(A).sum(1, keepdims=True)
    batches = read(PairSource(save(tmp_path, "a.npz", probs=probs), save(tmp_path, "b.npz", log_probs=np.log(probs))))
    np.testing.assert_array_equal(joined(batches, "reference"), joined(batches, "candidate"))
    assert batches[0].labels is None


def test_labels_have_their_own_file(tmp_path):
    a, b = (save(tmp_path, f"{name}.npz", logits=each) for name, each in (("a", A), ("b", B)))
    np.save(tmp_path / "tokens.npy", LABELS)
    batches = read(PairSource(a, b, tmp_path / "tokens.npy"))
    np.testing.assert_array_equal(joined(batches, "labels"), LABELS)


def test_labels_may_be_in_the_second_file(tmp_path):
    source = PairSource(save(tmp_path, "a.npz", logits=A), save(tmp_path, "b.npz", logits=B, next_token=LABELS))
    np.testing.assert_array_equal(joined(read(source, labels_name="next_token"), "labels"), LABELS)


def test_hidden_states_may_differ_in_width(tmp_path):
    save_file({"hidden_states": A}, tmp_path / "a.safetensors")
    save_file({"hidden_states": np.ascontiguousarray(B[:, :5])}, tmp_path / "b.safetensors")
    hidden = {side: Choice(Form.HIDDEN_STATES) for side in ("reference", "candidate")}
    batches = read(PairSource(tmp_path / "a.safetensors", tmp_path / "b.safetensors"), **hidden)
    np.testing.assert_array_equal(joined(batches, "reference"), A)
    np.testing.assert_array_equal(joined(batches, "candidate"), B[:, :5])


TOP = {"reference": Choice(Form.TOP)}


def test_classes_come_with_their_log_probabilities(tmp_path):
    classes = np.argsort(-A, 1)[:, :3]
    log_probs = np.take_along_axis(A, classes, 1)
    a = save(tmp_path, "a.npz", top_log_probabilities=log_probs, top_classes=classes)
    batches = read(PairSource(a, save(tmp_path, "b.npz", logits=B)), **TOP)
    np.testing.assert_array_equal(joined(batches, "reference"), log_probs)
    np.testing.assert_array_equal(joined(batches, "classes"), classes)


def test_lists_of_classes_are_padded(tmp_path):
    lengths = [3, 1, 0, 4, 2]
    values, classes = A.reshape(-1)[:10], np.arange(10)
    table = {"logprobs": lists(values, lengths), "token_ids": lists(classes, lengths)}
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    (batch,) = read(PairSource(tmp_path / "a.parquet", save(tmp_path, "b.npz", logits=B[:5])), **TOP)
    assert batch.reference.shape == batch.classes.shape == (5, 4)
    is_there = np.arange(4) < np.array(lengths)[:, None]
    assert np.isneginf(batch.reference[~is_there]).all()
    np.testing.assert_array_equal(batch.reference[is_there], values)
    np.testing.assert_array_equal(batch.classes[is_there], classes)


def test_log_probabilities_of_some_classes_need_a_tail(tmp_path):
    a, b = save(tmp_path, "a.npz", top_logprobs=A, top_classes=LABELS), save(tmp_path, "b.npz", logits=B)
    assert refused(PairSource(a, b)).endswith(
        "choose with --name-a; if top_logprobs are what the name says, log-probabilities of some classes need a tail"
    )


def test_what_does_not_match_names_both_files(tmp_path):
    a, more = save(tmp_path, "a.npz", logits=A), save(tmp_path, "more.npz", logits=np.zeros((24, 12), np.float32))
    wide = save(tmp_path, "wide.npz", logits=np.zeros((23, 13), np.float32))
    assert refused(PairSource(a, more)) == f"{a}: logits has 23 rows, and logits of {more} has 24"
    assert refused(PairSource(a, wide)) == f"{a}: logits has 12 classes, and logits of {wide} has 13"


@pytest.mark.parametrize(
    ("arrays", "choice", "problem"),
    [
        ({"labels": LABELS[:22]}, {}, "labels has labels for 22 rows, expected one for each of 23"),
        ({"labels": A[:, 0]}, {}, "expected class indices in labels, got float32"),
        ({}, {"labels_name": "tokens"}, "has no array named tokens, and neither has"),
        ({}, {"shift": True}, "has no labels, and neither has .*: --shift is about them"),
        ({}, {"mask_name": "mask"}, "has no labels, and neither has .*: --mask-name is about them"),
        ({"labels": LABELS, "mask": LABELS}, {"mask_name": "mask"}, r"expected 1 \(counts\) and 0"),
        ({"labels": LABELS}, {"mask_name": "mask"}, "has no array named mask, but labels, logits"),
        ({}, TOP, "has no array named top_log_probabilities or"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, choice, problem, tmp_path):
    a = save(tmp_path, "a.npz", **dict(sorted({"logits": A, **arrays, "z": LABELS}.items())))
    source = PairSource(a, save(tmp_path, "b.npz", logits=B))
    with pytest.raises(FileError, match=problem):
        read(source, **choice)
