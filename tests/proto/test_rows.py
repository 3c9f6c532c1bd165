"""How batches are cut into pieces of rows."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from losswire.errors import FieldError
from losswire.rows import Piece, RowLayout

shapes = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple)
layouts = st.one_of(
    st.builds(RowLayout.of, shapes, elementwise=st.just(False)),
    st.builds(RowLayout.of, st.one_of(shapes, st.just(())), elementwise=st.just(True)),
)


@given(layouts, st.integers(1, 300))
def test_pieces_cover_rows_in_order(layout, row_count):
    next_row = 0
    for piece in layout.pieces(row_count):
        assert piece.first_row == next_row
        assert 1 <= piece.row_count <= row_count
        assert piece == layout.piece(piece.first_row, piece.row_count)
        next_row = piece.end_row
    assert next_row == layout.row_count


@given(layouts, st.integers(1, 300))
def test_pieces_are_as_large_as_asked_for(layout, row_count):
    whole_samples = row_count // max(1, layout.positions) * layout.positions
    for piece in layout.pieces(row_count):
        ends = piece.end_row == layout.row_count or (not whole_samples and piece.end_row % layout.positions == 0)
        assert ends or piece.row_count == (whole_samples or row_count)


@given(layouts, st.integers(1, 300))
def test_shapes_of_pieces_hold_their_rows(layout, row_count):
    for piece in layout.pieces(row_count):
        assert math.prod(piece.row_shape) == piece.row_count
        assert math.prod(piece.input_shape) == piece.row_count * layout.classes
        without_classes = piece.input_shape[:1] + piece.input_shape[2:] if len(piece.input_shape) > 1 else ()
        assert piece.row_shape == (piece.input_shape if layout.elementwise else without_classes)


@given(shapes, st.booleans())
def test_layout_counts_as_numpy_does(shape, binary):
    layout = RowLayout.of(shape, elementwise=binary)
    rows = np.zeros(shape) if binary else np.zeros(shape).sum(axis=min(1, len(shape) - 1))
    assert (layout.row_count, layout.row_shape) == (rows.size, rows.shape)


@given(layouts, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_a_piece_or_an_error(layout, first_row, row_count):
    with suppress(FieldError):
        piece = layout.piece(first_row, row_count)
        assert 0 <= piece.first_row < piece.end_row <= layout.row_count


@pytest.mark.parametrize(
    ("shape", "rows", "piece"),
    [
        ((5,), (0, 1), Piece(0, 1, (5,), ())),
        ((4, 5), (1, 2), Piece(1, 2, (2, 5), (2,))),
        ((4, 5, 2, 3), (6, 12), Piece(6, 12, (2, 5, 2, 3), (2, 2, 3))),
        ((4, 5, 2, 3), (7, 4), Piece(7, 4, (1, 5, 4), (1, 4))),
        ((4, 5, 1, 1), (1, 1), Piece(1, 1, (1, 5, 1, 1), (1, 1, 1))),
    ],
)
def test_piece_is_of_whole_samples_or_of_positions_of_one(shape, rows, piece):
    assert RowLayout.of(shape, elementwise=False).piece(*rows) == piece


@pytest.mark.parametrize("rows", [(0, 0), (0, -1), (-1, 1), (-1, 25), (24, 1), (23, 2), (0, 25), (0, 2**62)])
def test_rows_that_are_none_of_the_batch_are_refused(rows):
    for layout in (RowLayout.of((4, 5, 2, 3), elementwise=False), RowLayout.of((4, 6), elementwise=True)):
        with pytest.raises(FieldError, match=r"slab.row_count: expected rows of a batch that has 24, got"):
            layout.piece(*rows)


@pytest.mark.parametrize("rows", [(5, 2), (0, 7), (1, 6), (1, 23), (3, 6)])
def test_parts_of_samples_are_refused(rows):
    with pytest.raises(FieldError, match=r"expected whole samples of 6 rows, or rows of one sample, got \d+ from"):
        RowLayout.of((4, 5, 2, 3), elementwise=False).piece(*rows)
