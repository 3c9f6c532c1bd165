import logging
from pathlib import Path

import pytest

from losswire_server.process import rotating
from losswire_server.process.rotating import Rotating


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch):
    monkeypatch.setattr(rotating, "LOOK_SECONDS", 0.0)


@pytest.fixture
def file(tmp_path) -> Path:
    path: Path = tmp_path / "number"
    path.write_text("1")
    return path


def number(file: Path) -> int:
    try:
        return int(file.read_text())
    except OSError as error:
        raise ValueError("it is gone") from error


def test_replaced_file_is_read_again(file, caplog):
    caplog.set_level(logging.INFO)
    reads = []

    def read() -> int:
        reads.append(1)
        return number(file)

    kept = Rotating("number", [file], read)
    assert [kept.current(), kept.current()] == [1, 1]
    assert len(reads) == 1
    file.write_text("22")
    assert [kept.current(), kept.current()] == [22, 22]
    assert len(reads) == 2
    assert [record.getMessage() for record in caplog.records] == ["files replaced"]


def test_wrong_file_keeps_the_old_one_and_warns_once(file, caplog):
    failures = []
    kept = Rotating("number", [file], lambda: number(file), lambda: failures.append(1))
    for wrong in ("one", None):
        file.write_text(wrong) if wrong else file.unlink()
        assert [kept.current() for _ in range(3)] == [1, 1, 1]
    assert len(failures) == 2
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.problem[:7] for record in warned] == ["invalid", "it is g"]
    assert {record.setting for record in warned} == {"number"}
    file.write_text("3")
    assert kept.current() == 3


def test_half_written_file_is_read_until_it_is_right(file):
    """What completes it may come within the clock's tick, with the same size."""
    right = iter([1, None, None, 2])

    def read() -> int:
        found = next(right)
        if found is None:
            raise ValueError("half written")
        return found

    kept = Rotating("number", [file], read)
    file.write_text("22")
    assert [kept.current() for _ in range(4)] == [1, 1, 2, 2]


def test_file_that_is_wrong_from_the_start_is_refused(file):
    file.write_text("one")
    with pytest.raises(ValueError, match="invalid literal"):
        Rotating("number", [file], lambda: number(file))


def test_file_is_not_looked_at_by_every_call(file, monkeypatch):
    monkeypatch.setattr(rotating, "LOOK_SECONDS", 3600.0)
    kept = Rotating("number", [file], lambda: number(file))
    file.write_text("22")
    assert kept.current() == 1
