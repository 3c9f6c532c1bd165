"""Errors at the edge, whose frames are let go."""

import pytest

from losswire_server.rpc.edge import _forget_frames


def test_error_among_its_own_causes_is_let_go():
    with pytest.raises(ValueError, match="it") as raised:
        int("it")
    error = raised.value
    error.__cause__ = error
    _forget_frames(error)
    assert error.__traceback__ is None
