"""How much memory heads may take if nobody says it."""

import pytest

from losswire_server import Settings
from losswire_server.settings import types
from losswire_server.settings.types import MEMORY_BYTES

GIB = 2**30


@pytest.mark.parametrize(
    ("told", "expected"),
    [(None, MEMORY_BYTES // 4), ("max\n", MEMORY_BYTES // 4), (f"{GIB}\n", GIB // 4), (f"{2**62}", MEMORY_BYTES // 4)],
)
def test_heads_take_a_quarter_of_what_there_is(told, expected, tmp_path, monkeypatch):
    file = tmp_path / "memory.max"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(types, "LIMIT_OF_CGROUP", file)
    assert Settings().most_head_bytes == expected
    assert Settings(head_bytes=5).most_head_bytes == 5


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        ({}, True),
        ({"allow_head_registration": False}, False),
        ({"head_bytes": 0}, False),
        ({"allow_head_registration": False, "heads": "folder"}, True),
    ],
)
def test_server_holds_heads_if_it_can_have_some(settings, holds):
    assert Settings(**settings).holds_heads == holds
