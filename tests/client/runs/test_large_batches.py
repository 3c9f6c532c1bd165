"""Batches that are too large for one message, or for the request beside shared memory, count like small ones."""

import numpy as np
import pytest

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
