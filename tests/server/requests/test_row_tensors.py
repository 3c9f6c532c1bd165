"""Memory for tensors whose elements come in slabs is as large as announced, whatever else a message carries."""

import sys

import pytest
import torch

from losswire import v1
from losswire.rows import RowLayout
from losswire_server.requests.slabs.row_tensors import Coming
from tests.server.calls.raw_streams import slab_frame


def coming(rows: int) -> tuple[Coming, RowLayout]:
    layout = RowLayout.of((rows, 2), elementwise=False)
    return Coming("target", torch.uint8, layout, None), layout


def message(first_row: int, target: bytes, padding: int = 0) -> bytes:
    slab = v1.Slab(first_row=first_row, row_count=len(target), padding=bytes(padding), target=target)
    return v1.EvaluateStreamRequest(slab=slab).SerializeToString()


@pytest.mark.parametrize(("padding", "kept"), [(0, True), (1000, True), (100_000, False)])
def test_message_is_kept_for_large_payloads(padding, kept):
    tensor, layout = coming(5000)
    data = message(0, bytes(5000), padding)
    references = sys.getrefcount(data)
    tensor.add(slab_frame(data).payloads["target"], layout.slab_rows(0, 5000))
    assert (sys.getrefcount(data) > references) == kept
    assert tensor.take(layout.slab_rows(0, 5000)).tolist() == [0] * 5000
    assert sys.getrefcount(data) == references


def test_small_parts_count_for_more():
    tensor, layout = coming(1000)
    for row in range(1000):
        tensor.add(slab_frame(message(row, b"\1")).payloads["target"], layout.slab_rows(row, 1))
    assert tensor.held_bytes > 1000 * 1500  # measured: 1,800 bytes each
    assert tensor.take(layout.slab_rows(0, 600)).tolist() == [1] * 600
    assert tensor.take(layout.slab_rows(600, 400)).tolist() == [1] * 400
    assert tensor.held_bytes == 0
