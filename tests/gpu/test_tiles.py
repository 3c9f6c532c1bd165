import itertools

import pytest
import torch

from ce_engine.gpu._packing import ALIGNMENT, Packing
from ce_engine.gpu._tiles import WARP, element_tile, row_alignment, row_tile
from tests.gpu.helpers import FLOATS  # skips without Triton

CLASS_COUNTS = (1, 2, 3, 10, 512, 1000, 1024, 1025, 2048, 4096, 8192, 8193, 32_000, 50_257, 131_072, 262_144, 1_000_000)
WIDEST_TENSOR = 2**20  # numbers: Triton's limit
THREADS = 1024  # at most so many in a program


@pytest.mark.parametrize("class_count", CLASS_COUNTS)
def test_tile_is_one_that_triton_takes(class_count):
    for dtype, elements in itertools.product(FLOATS, (False, True)):
        tile = row_tile(class_count, dtype, elements=elements)
        for number in (tile.rows, tile.block, tile.lanes, tile.warps):
            assert number & (number - 1) == 0 < number
        assert tile.block % tile.lanes == 0
        assert tile.rows * tile.block <= WIDEST_TENSOR
        assert tile.warps * WARP <= THREADS
        assert tile.rows == 1 or tile.block >= class_count


@pytest.mark.parametrize("class_count", CLASS_COUNTS)
def test_rows_start_where_the_alignment_says(class_count):
    alignment = row_alignment(class_count)
    assert class_count % alignment == 0
    assert alignment == 16 or class_count % (2 * alignment)


@pytest.mark.parametrize("class_count", CLASS_COUNTS)
def test_tile_of_elements_is_of_one_size(class_count):
    tile = element_tile(class_count)
    assert tile.rows * tile.block == element_tile(1).rows


def test_packed_tensors_are_aligned():
    tensors = {
        "a": torch.arange(3, dtype=torch.uint8),
        "b": torch.tensor([[1.5, 2.5]]),
        "none": torch.zeros(0, 4),
        "c": torch.tensor([True]),
        "d": torch.arange(2),
    }
    packing = Packing.of(tensors)
    buffer = torch.full((packing.nbytes,), 255, dtype=torch.uint8)
    views = packing.views(buffer)
    for name, view in views.items():
        assert (view.data_ptr() - buffer.data_ptr()) % ALIGNMENT == 0
        view.copy_(tensors[name])
    for name, view in views.items():
        assert torch.equal(view, tensors[name])
