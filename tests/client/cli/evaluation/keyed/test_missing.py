"""Which blocks are still to be evaluated, and in which order."""

from pathlib import Path
from typing import Any

import pytest

from losswire_client.cli.evaluation.keyed import _missing
from losswire_client.cli.evaluation.keyed._files import KeyedFile
from losswire_client.cli.evaluation.keyed._missing import STRETCH, MissingKeys


class Counted:
    """A run in which some keys count."""

    def __init__(self, keys=()):
        self.keys = set(keys)
        self.asked = []

    def missing(self, keys):
        self.asked.append(list(keys))
        return [key for key in self.asked[-1] if key not in self.keys]


def missing_of(run: Any, files):
    return MissingKeys(run, files)


@pytest.fixture
def keyed():
    """A file with so many blocks of one row."""

    def make(blocks, name="a", **options):
        facts: dict[str, Any] = {"source": (Path(name), None), "name": name, "fingerprint": "0" * 12}
        facts |= {"row_count": blocks, "block_rows": 1, "with_logarithm": False, "is_seekable": True}
        return KeyedFile(**facts | options)

    return make


@pytest.fixture(autouse=True)
def _always_due(monkeypatch):
    monkeypatch.setattr(_missing, "ASKED_SECONDS", 0.0)


def blocks_of(missing):
    return [(stretch.file.name, list(stretch.blocks)) for stretch in missing.stretches()]


def test_stretches_are_all_missing_blocks_once(keyed):
    files = [keyed(40), keyed(3, "b")]
    run = Counted(list(files[0].all_keys())[::2])
    found = blocks_of(missing_of(run, files))
    assert sorted(block for name, blocks in found if name == "a" for block in blocks) == list(range(1, 40, 2))
    assert [blocks for name, blocks in found if name == "b"] == [[0, 1, 2]]
    assert all(len(blocks) <= STRETCH and blocks == sorted(blocks) for _, blocks in found)


def test_machines_differ_in_their_orders(keyed):
    files = [keyed(500), *(keyed(1, f"{i}") for i in range(50))]
    assert blocks_of(missing_of(Counted(), files)) != blocks_of(missing_of(Counted(), files))


def test_file_that_is_read_from_its_beginning_is_one_stretch(keyed):
    assert blocks_of(missing_of(Counted(), [keyed(100, is_seekable=False)])) == [("a", list(range(100)))]


def test_stretch_that_others_counted_is_not_opened(keyed):
    file, run = keyed(4 * STRETCH), Counted()
    missing = missing_of(run, [file])
    assert missing.first_count == 4 * STRETCH
    stretches = missing.stretches()
    next(stretches)
    run.keys |= set(file.all_keys())
    assert list(stretches) == []


def test_block_that_others_counted_is_left_out(keyed):
    file, run = keyed(STRETCH), Counted()
    missing = missing_of(run, [file])
    (stretch,) = iter(missing.stretches())
    assert list(stretch.blocks) == list(range(STRETCH))
    missing = missing_of(run, [file])
    for _ in missing.stretches():
        assert missing.of_next(file, 0) == list(file.keys(0))
        run.keys |= set(file.keys(1))
        assert missing.of_next(file, 1) == []
        assert missing.of_next(file, 2) == list(file.keys(2))


def test_only_keys_that_come_next_are_asked_for(keyed, monkeypatch):
    monkeypatch.setattr(_missing, "ASKED_KEYS", 5)
    file, run = keyed(STRETCH), Counted()
    missing = missing_of(run, [file])
    for _ in missing.stretches():
        for block in range(8):
            missing.of_next(file, block)
    keys = list(file.all_keys())
    assert run.asked[1:] == [keys[:5], *(keys[block : block + 5] for block in range(8))]
