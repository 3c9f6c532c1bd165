"""Numbers that a loss accepts but that are hardly meant for it are refused if the caller asks for the check."""

import asyncio

import ml_dtypes
import numpy as np
import pytest
import torch

from losswire_client import AsyncClient, Client, InvalidArgumentError
from losswire_client._request.plausibility import Plausibility, check_plausible

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((40, 7)) * 3
TARGET = RNG.integers(7, size=40)
LABELS = RNG.integers(2, size=(40, 7)).astype(np.float64)


def softmax(logits, axis):
    return torch.from_numpy(logits).softmax(axis).numpy()


def log_softmax(logits, axis):
    return torch.from_numpy(logits).log_softmax(axis).numpy()


DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]

WRONG = {
    "probabilities": (
        "cross_entropy",
        softmax(LOGITS, 1),
        TARGET,
        "input: expected logits, got numbers that look like",
    ),
    "decisions": ("cross_entropy", np.eye(7)[TARGET], TARGET, "input: expected logits, got numbers that look like"),
    "labels as logits": ("cross_entropy", LABELS, TARGET, "input: expected logits, got nothing but zeros and ones"),
    "labels of each class": ("cross_entropy", LOGITS, LABELS, "target: expected probabilities .* ones .* at row 0"),
    "unnormalised": ("cross_entropy", LOGITS, softmax(LOGITS, 1) * 2, "target: .* sum to 1, got a sum of 2 at row 0"),
    "logits": ("nll_loss", LOGITS, TARGET, "input: expected log-probabilities, .* got a sum of .* at row 0"),
    "negative logits": ("nll_loss", LOGITS - 20, TARGET, "input: expected log-probabilities, .* at row 0"),
    "no logarithms": ("nll_loss", softmax(LOGITS, 1), TARGET, "input: .*-probabilities, got numbers that look like"),
    "certain": ("binary_cross_entropy", LABELS, LABELS, "input: expected probabilities, got nothing but zeros and"),
    "not logits": ("binary_cross_entropy_with_logits", softmax(LOGITS, 1), LABELS, "input: .* logits, got numbers"),
    "labels": ("binary_cross_entropy_with_logits", LABELS, LABELS, "input: .* logits, got nothing but zeros and ones"),
    "classes": (
        "binary_cross_entropy_with_logits",
        LOGITS[:, 0],
        TARGET * 1.0,
        r"target: .* in \[0, 1\], got .* at row",
    ),
    "signs": ("binary_cross_entropy_with_logits", LOGITS, 1 - 2 * LABELS, r"target: .* in \[0, 1\], got -1 at row"),
}
RIGHT = {
    "logits": ("cross_entropy", LOGITS, TARGET),
    "log-probabilities, which softmax leaves alone": ("cross_entropy", log_softmax(LOGITS, 1), TARGET),
    "distributions": ("cross_entropy", LOGITS, softmax(LOGITS, 1)),
    "one-hot": ("cross_entropy", LOGITS, np.eye(7)[TARGET]),
    "zeros": ("cross_entropy", np.zeros((40, 7)), TARGET),
    "log-probabilities": ("nll_loss", log_softmax(LOGITS, 1), TARGET),
    "impossible classes": ("nll_loss", np.where(np.eye(7)[TARGET], 0, -np.inf), TARGET),
    "probabilities": ("binary_cross_entropy", softmax(LOGITS, 1), LABELS),
    "elements": ("binary_cross_entropy_with_logits", LOGITS, LABELS),
    "few elements": ("binary_cross_entropy_with_logits", np.array([0.2, 0.9]), np.array([1.0, 0.0])),
    "zero elements": ("binary_cross_entropy_with_logits", np.zeros(40), LABELS[:, 0]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", WRONG)
def test_unlikely_numbers_are_named(wrong, dtype):
    loss, input, target, words = WRONG[wrong]
    with pytest.raises(InvalidArgumentError, match=words) as raised:
        check_plausible(loss, input.astype(dtype), target, -100)
    assert raised.value.argument == words.partition(":")[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("right", RIGHT)
def test_right_numbers_pass_in_every_dtype(right, dtype):
    loss, input, target = RIGHT[right]
    target = target if target.dtype.kind == "i" else target.astype(dtype)
    check_plausible(loss, input.astype(dtype), target, -100)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 1000, 50_257])
def test_rounding_is_not_taken_for_a_wrong_sum(classes, dtype):
    for logits in (np.zeros((3, classes)), RNG.standard_normal((3, classes))):
        check_plausible("nll_loss", log_softmax(logits, 1).astype(dtype), np.zeros(3, np.int64), -100)
        check_plausible("cross_entropy", RNG.standard_normal((3, classes)), softmax(logits, 1).astype(dtype), -100)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (4, 7, 2), (2, 7, 3, 2)])
def test_plausibility_knows_class_dimension(shape):
    axis, rows = min(1, len(shape) - 1), (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    logits, target = RNG.standard_normal(shape), np.zeros(rows, np.int64)
    check_plausible("nll_loss", log_softmax(logits, axis), target, -100)
    check_plausible("cross_entropy", logits, softmax(logits, axis), -100)
    with pytest.raises(InvalidArgumentError, match="input"):
        check_plausible("cross_entropy", softmax(logits, axis), target, -100)


def test_wrong_row_is_sample_and_position():
    log_probs = log_softmax(RNG.standard_normal((4, 5, 3)), 1)
    log_probs[2, :, 1] += 1
    with pytest.raises(InvalidArgumentError, match=r"at row 7$"):
        check_plausible("nll_loss", log_probs, np.zeros((4, 3), np.int64), -100)


def test_ignored_rows_may_hold_anything():
    target = np.append(TARGET, -100)
    check_plausible("nll_loss", np.vstack([log_softmax(LOGITS, 1), LOGITS[:1]]), target, -100)
    with pytest.raises(InvalidArgumentError, match="numbers that look like probabilities"):
        check_plausible("cross_entropy", np.vstack([softmax(LOGITS, 1), LOGITS[:1]]), target, -100)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"])
def test_numbers_that_are_none_tell_nothing(loss):
    target = np.zeros(40, np.int64) if loss != "binary_cross_entropy_with_logits" else np.full((40, 7), np.nan)
    check_plausible(loss, np.full((40, 7), np.nan), target, -100)
    for shape in ((0, 7), (3, 0)):
        check_plausible(loss, np.zeros(shape), np.zeros(shape), -100)


def test_one_row_disproves_a_suspicion():
    check_plausible("cross_entropy", np.vstack([softmax(LOGITS, 1), LOGITS[:1]]), np.append(TARGET, 0), -100)


def test_some_rows_may_be_looked_at():
    plausibility, looked_at = Plausibility("nll_loss"), log_softmax(np.zeros((100, 3)), 1)
    looked_at[50] += 5
    plausibility.add(looked_at, np.zeros(100, np.int64), most=2)  # the first and the last
    assert plausibility.findings() == []
    plausibility.add(looked_at[50:], np.zeros(50, np.int64), most=2, first_row=1000)
    (finding,) = plausibility.findings()
    assert (finding.argument, finding.row) == ("input", 1000)


def test_strict_call_is_never_sent(client):
    probabilities = softmax(LOGITS, 1)
    assert client.cross_entropy(probabilities, TARGET).row_count == 40
    assert client.cross_entropy(LOGITS, TARGET, strict=True).row_count == 40
    with Client("127.0.0.1:1") as unconnected, pytest.raises(InvalidArgumentError, match="input: expected logits"):
        unconnected.cross_entropy(probabilities, TARGET, strict=True)
    with pytest.raises(InvalidArgumentError, match="strict: expected one of False, True, got 'yes'"):
        client.cross_entropy(LOGITS, TARGET, strict="yes")


@pytest.mark.parametrize("coalesce", [False, True])
def test_strict_map_names_the_batch(target, coalesce):
    batches = [(LOGITS, TARGET), (softmax(LOGITS, 1), TARGET)]
    with Client(target, coalesce=coalesce) as client:
        results = client.map(batches, strict=True)
        assert next(results).row_count == 40
        with pytest.raises(InvalidArgumentError, match="input: expected logits") as raised:
            next(results)
    assert raised.value.batch == 1


def test_strict_call_is_refused_when_awaited(target):
    async def call():
        async with AsyncClient(target) as client:
            await client.nll_loss(LOGITS, TARGET, strict=True)

    with pytest.raises(InvalidArgumentError, match="input: expected log-probabilities"):
        asyncio.run(call())
