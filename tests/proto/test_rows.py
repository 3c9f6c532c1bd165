"""How batches are cut into slabs of rows."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from losswire.errors import FieldError
from losswire.rows import RowLayout, SlabRows

shapes = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple)
layouts = st.one_of(
    st.builds(RowLayout.of, shapes, elementwise=st.just(False)),
    st.builds(RowLayout.of, st.one_of(shapes, st.just(())), elementwise=st.just(True)),
)


@given(layouts, st.integers(1, 300))
def test_slabs_cover_rows_in_order(layout, row_count):
    next_row = 0
    for slab in layout.slabs(row_count):
        assert slab.first_row == next_row
        assert 1 <= slab.row_count <= row_count
        assert slab == layout.slab_rows(slab.first_row, slab.row_count)
        next_row = slab.end_row
    assert next_row == layout.row_count


@given(layouts, st.integers(1, 300))
def test_slabs_are_as_large_as_asked_for(layout, row_count):
    whole_samples = row_count // max(1, layout.positions) * layout.positions
    for slab in layout.slabs(row_count):
        ends = slab.end_row == layout.row_count or (not whole_samples and slab.end_row % layout.positions == 0)
        assert ends or slab.row_count == (whole_samples or row_count)


@given(layouts, st.integers(1, 300))
def test_shapes_of_slabs_hold_their_rows(layout, row_count):
    for slab in layout.slabs(row_count):
        assert math.prod(slab.row_shape) == slab.row_count
        assert math.prod(slab.input_shape) == slab.row_count * layout.classes
        without_classes = slab.input_shape[:1] + slab.input_shape[2:] if len(slab.input_shape) > 1 else ()
        assert slab.row_shape == (slab.input_shape if layout.elementwise else without_classes)


@given(shapes, st.booleans())
def test_layout_counts_as_numpy_does(shape, binary):
    layout = RowLayout.of(shape, elementwise=binary)
    rows = np.zeros(shape) if binary else np.zeros(shape).sum(axis=min(1, len(shape) - 1))
    assert (layout.row_count, layout.row_shape) == (rows.size, rows.shape)


@given(layouts, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_a_slab_or_an_error(layout, first_row, row_count):
    with suppress(FieldError):
        slab = layout.slab_rows(first_row, row_count)
        assert 0 <= slab.first_row < slab.end_row <= layout.row_count


@pytest.mark.parametrize(
    ("shape", "rows", "slab"),
    [
        ((5,), (0, 1), SlabRows(0, 1, (5,), ())),
        ((4, 5), (1, 2), SlabRows(1, 2, (2, 5), (2,))),
        ((4, 5, 2, 3), (6, 12), SlabRows(6, 12, (2, 5, 2, 3), (2, 2, 3))),
        ((4, 5, 2, 3), (7, 4), SlabRows(7, 4, (1, 5, 4), (1, 4))),
        ((4, 5, 1, 1), (1, 1), SlabRows(1, 1, (1, 5, 1, 1), (1, 1, 1))),
    ],
)
def test_slab_has_whole_samples_or_one(shape, rows, slab):
    assert RowLayout.of(shape, elementwise=False).slab_rows(*rows) == slab


@pytest.mark.parametrize("rows", [(0, 0), (0, -1), (-1, 1), (-1, 25), (24, 1), (23, 2), (0, 25), (0, 2**62)])
def test_rows_outside_the_batch_are_refused(rows):
    for layout in (RowLayout.of((4, 5, 2, 3), elementwise=False), RowLayout.of((4, 6), elementwise=True)):
        with pytest.raises(FieldError, match=r"slab.row_count: expected rows of a batch that has 24, got"):
            layout.slab_rows(*rows)


@pytest.mark.parametrize("rows", [(5, 2), (0, 7), (1, 6), (1, 23), (3, 6)])
def test_parts_of_samples_are_refused(rows):
    with pytest.raises(FieldError, match=r"expected whole samples of 6 rows, or rows of one sample, got \d+ from"):
        RowLayout.of((4, 5, 2, 3), elementwise=False).slab_rows(*rows)
