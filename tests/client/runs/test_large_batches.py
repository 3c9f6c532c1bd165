"""Batches that are too large for one message, or for the request beside shared memory, count like small ones."""

import numpy as np
import pytest

from losswire_client import InvalidArgumentError

SHAPE = (1400, 50)  # 280 kB, more than goes in one message without asking the server first
LOGITS = np.random.default_rng(1).standard_normal(SHAPE, np.float32)
TARGET = np.random.default_rng(2).integers(0, SHAPE[1], SHAPE[0])


@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({}, "shared_memory"),
        ({"transport": "shared_memory"}, "shared_memory"),
        ({"transport": "stream"}, "stream"),
        ({"transport": "unary"}, "unary"),
        ({"transport": "unary", "coalesce": True}, "unary"),
    ],
)
def test_large_batch_counts_by_each_transport(relay, through, name, options, way):
    with through(**options) as client:
        run = client.run(name, by_class=True)
        first = run.cross_entropy(LOGITS, TARGET, key="a", exact="by_class")
        assert relay.transports == [way]
        again = run.cross_entropy(LOGITS, TARGET, key="a", slice="")
        assert (first.was_counted, again.was_counted) == (False, True)
        result = run.result()
    assert result.sums == first.exact
    assert {number: totals.sums for number, totals in result.by_class.items()} == first.exact_by_class
    assert result.row_count == SHAPE[0]


CLASSES = 20_000
WEIGHTS = np.random.default_rng(3).random((CLASSES,), np.float32)
LABELS = np.random.default_rng(4).integers(0, 2, (150, 200)).astype(np.float32)
LARGE_WEIGHTS = {
    "cross_entropy": ({"weight": WEIGHTS}, np.zeros((4, CLASSES), np.float32), np.arange(4)),
    "binary_cross_entropy_with_logits": ({"weight": LABELS + 1, "pos_weight": LABELS + 2}, LABELS - 0.5, LABELS),
}


@pytest.mark.parametrize("loss", LARGE_WEIGHTS)
def test_large_weights_count_by_each_transport(keeper, connect, name, loss):
    weights, input, target = LARGE_WEIGHTS[loss]
    run = keeper.run(name, loss=loss, **weights)
    expected = getattr(keeper, loss)(input, target, **weights, exact=True).exact.loss
    for transport in ("unary", "stream", "shared_memory", "auto"):
        with connect(transport=transport) as client:
            client.get_run(name).evaluate(input, target, key=transport)
    assert [key.sums.loss for key in run.keys(slice=None)] == [expected] * 4


def test_weights_that_no_run_has_are_refused(keeper, name):
    weight = np.ones(2**19 + 1, np.float32)
    with pytest.raises(InvalidArgumentError, match="expected at most 2097152 bytes"):
        keeper.run(name, weight=weight)
