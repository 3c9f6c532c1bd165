from contextlib import closing

import numpy as np
import pytest

from losswire_client._readers import FileError, open_dataset
from losswire_client._readers._folders import Source
from losswire_client._readers.sides import PairChoice, PairSource, open_pair
from losswire_client._readers.sides._base_file import BaseFile
from tests.client.cli.comparison.twin import log_softmax, terms
from tests.client.readers.sides.base_files import write_base

RNG = np.random.default_rng(0)
CONTEXTS, CONTEXT, CLASSES = 3, 8, 11  # an odd number of classes, which is padded
TOKENS = RNG.integers(CLASSES, size=(CONTEXTS, CONTEXT))
LOGITS = RNG.standard_normal((CONTEXTS, 3, CLASSES)) * 2
STEP = 16 / 65535  # of log-probabilities in a row


def read(reference, candidate, rows=4):
    with closing(open_pair(PairSource(reference, candidate), PairChoice())) as pair:
        return list(pair.batches(rows))


def save(path, logits):
    np.savez(path, logits=logits.reshape(-1, logits.shape[-1]).astype(np.float32))
    return path


def test_log_probabilities_are_within_half_a_step(tmp_path):
    base = BaseFile(write_base(tmp_path / "base", LOGITS, TOKENS))
    found = np.concatenate(list(base.chunks(4)))
    np.testing.assert_allclose(found, log_softmax(LOGITS).reshape(-1, CLASSES), atol=STEP / 2 + 1e-6)


def test_labels_are_the_tokens_after_the_second_half(tmp_path):
    base = write_base(tmp_path / "base", LOGITS, TOKENS)
    batches = read(base, base)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), TOKENS[:, 5:].reshape(-1))
    np.testing.assert_array_equal(np.concatenate([batch.indices for batch in batches]), np.arange(9))


def test_base_files_of_different_texts_are_refused(tmp_path):
    other = TOKENS.copy()
    other[1, 6] = (other[1, 6] + 1) % CLASSES  # which row 4 predicts
    a, b = write_base(tmp_path / "a", LOGITS, TOKENS), write_base(tmp_path / "b", LOGITS, other)
    with pytest.raises(FileError) as raised:
        read(a, b)
    told = f"row 4 predicts token {TOKENS[1, 6]}, and that of {b} token {other[1, 6]}"
    assert str(raised.value) == f"{a}: {told}: expected base files of the same text"


def test_rows_with_one_number_are_read(tmp_path):
    base = BaseFile(write_base(tmp_path / "base", np.ones_like(LOGITS), TOKENS))
    np.testing.assert_allclose(next(base.chunks(1)), -np.log(CLASSES), rtol=1e-6)


def softmax(logits):
    return np.exp(log_softmax(logits))


def spread(classes=2000):
    """Rows of which the file leaves most classes open, as of a large vocabulary."""
    logits = RNG.standard_normal((CONTEXTS, 3, classes)) * 3
    logits[..., 5] = 14
    return logits


def one_bin(reference, candidate):
    """The divergence of distributions in which the classes that the file leaves open are one class."""
    p, q = softmax(reference).reshape(9, -1), softmax(candidate).reshape(9, -1)
    is_open = reference.reshape(9, -1) < reference.max(-1).reshape(9, 1) - 16
    assert is_open.sum(1).min() > 10
    rest = [np.where(is_open, each, 0).sum(1) for each in (p, q)]
    return np.where(is_open, 0, terms(p, q)).sum(1) + terms(*rest)


def test_open_classes_have_the_rest_in_the_proportions_of_the_other_model(tmp_path):
    reference = spread()
    candidate = reference + RNG.standard_normal(reference.shape) * 0.3
    (batch,) = read(write_base(tmp_path / "base", reference, TOKENS), save(tmp_path / "b.npz", candidate), rows=9)
    np.testing.assert_allclose(np.exp(batch.reference).sum(1), 1, atol=1e-4)
    found = terms(softmax(batch.reference), softmax(batch.candidate)).sum(1)
    np.testing.assert_allclose(found, one_bin(reference, candidate), rtol=1e-3, atol=1e-5)
    as_raised = softmax(np.maximum(reference, reference.max(-1, keepdims=True) - 16)).reshape(9, -1)
    assert np.abs(terms(as_raised, softmax(batch.candidate)).sum(1) / one_bin(reference, candidate) - 1).max() > 1e-3


def test_candidate_may_be_the_base_file(tmp_path):
    reference = spread()
    candidate = reference + RNG.standard_normal(reference.shape) * 0.3
    (batch,) = read(save(tmp_path / "a.npz", reference), write_base(tmp_path / "base", candidate, TOKENS), rows=9)
    assert np.isfinite(batch.candidate).all()
    np.testing.assert_allclose(np.exp(batch.candidate).sum(1), 1, atol=1e-4)


def test_a_base_file_does_not_differ_from_itself(tmp_path):
    base = write_base(tmp_path / "base", spread(), TOKENS)
    for batch in read(base, base):
        np.testing.assert_array_equal(batch.reference, batch.candidate)
        assert np.isfinite(batch.reference).all()


def test_open_classes_without_a_share_of_the_other_model_have_equal_shares(tmp_path):
    reference = spread()
    candidate = np.where(reference < -2, -np.inf, reference)
    (batch,) = read(write_base(tmp_path / "base", reference, TOKENS), save(tmp_path / "b.npz", candidate), rows=9)
    assert np.isfinite(batch.reference).all()
    np.testing.assert_allclose(np.exp(batch.reference).sum(1), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[:-1], "bytes, expected .* by its header: it was cut short"),
        (lambda data: data + b"\0\0", "bytes, expected .* by its header: it holds something else"),
        (lambda data: data[:15], "ends within its header"),
        (lambda data: data[:8] + bytes(12) + data[20:], "whose header tells of contexts of 0 tokens"),
    ],
)
def test_damaged_files_are_refused(damage, problem, tmp_path):
    base = write_base(tmp_path / "base", LOGITS, TOKENS)
    base.write_bytes(damage(base.read_bytes()))
    with pytest.raises(FileError, match=problem):
        read(base, base)


def test_other_readers_say_what_it_is(tmp_path):
    base = write_base(tmp_path / "base.npz", LOGITS, TOKENS)
    with pytest.raises(FileError, match=r"is a base file of llama\.cpp, which losswire compare reads"):
        open_dataset(Source(base))
