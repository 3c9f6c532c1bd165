import pytest
import torch

from ce_engine._rows import BLOCK_BYTES, blocks, class_rows

# (samples, positions, classes): one block, many of them, samples in groups, positions in groups, rows beyond a block
SHAPES = [(1, 1, 1), (1, 5000, 100), (70, 30, 300), (3, 5000, 300), (2, 3, BLOCK_BYTES), (4, 1, 100_000)]


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_cover_rows_in_order(shape):
    rows = torch.empty(shape, device="meta")
    numbers = torch.arange(shape[0] * shape[1]).view(shape[:2])
    covered = []
    for block in blocks(rows, 4):
        part = numbers[block.samples, block.positions].flatten()
        assert part.tolist() == list(range(block.rows.start, block.rows.stop))
        assert len(part) == 1 or len(part) * shape[2] * 4 <= BLOCK_BYTES * torch.get_num_threads()
        covered.append(part)
    assert torch.equal(torch.cat(covered), numbers.flatten())


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_no_elements_are_no_blocks(shape):
    assert list(blocks(torch.empty(shape), 4)) == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5,), (1, 1, 5)), ((4, 5), (1, 4, 5)), ((4, 5, 6), (4, 6, 5)), ((4, 5, 6, 7), (4, 42, 5)), ((0, 5), (1, 0, 5))],
)
def test_rows_have_their_classes_last(shape, expected):
    assert class_rows(torch.empty(shape)).shape == expected
