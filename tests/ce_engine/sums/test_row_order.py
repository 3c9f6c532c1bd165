"""Sums over the rows of many requests at once: each has the same bits as alone."""

import pytest
import torch

from ce_engine._sums.row_order import GROUP_ROWS, row_order_sum, row_order_sums
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import threads
from tests.pairs import pairs

# All remainders modulo the vectors that PyTorch adds up, and row counts near whole groups of rows.
ROWS = (*range(36), 1000, GROUP_ROWS - 1, GROUP_ROWS, GROUP_ROWS + 1, 3 * GROUP_ROWS + 7)


@pytest.mark.parametrize(("rows", "thread_count", "dtype"), pairs(ROWS, (1, 2), (torch.float32, torch.float64)))
def test_sums_together_are_those_alone(rows, thread_count, dtype):
    torch.manual_seed(rows)
    for count in (1, 2, 7, 8, 40):
        x = (torch.randn(count, rows, dtype=torch.float64) * 10.0 ** torch.randint(-9, 9, (count, rows))).to(dtype)
        with threads(thread_count):
            together = row_order_sums(x).tolist()
        assert list(map(bits, together)) == [bits(row_order_sum(row.clone())) for row in x]
