"""What the operating system refuses is told before it can do harm."""

import os
import resource
import threading

import pytest

from losswire_server import Settings
from losswire_server.process import limits
from losswire_server.settings.reading import WrongSettingsError


@pytest.fixture
def limited(monkeypatch):
    def limit(kind: int, soft: int, hard: int) -> list[tuple[int, int]]:
        raised: list[tuple[int, int]] = []
        real = resource.getrlimit
        monkeypatch.setattr(resource, "getrlimit", lambda asked: (soft, hard) if asked == kind else real(asked))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
        return raised

    return limit


def test_open_files_are_raised(limited):
    raised = limited(resource.RLIMIT_NOFILE, 20, 100_000)
    limits.raise_open_files()
    assert raised == [(100_000, 100_000)]


def test_too_few_open_files_are_refused(limited):
    limited(resource.RLIMIT_NOFILE, 20, 20)
    with pytest.raises(WrongSettingsError, match=r"open files: expected a limit \(ulimit -n\) of at least \d+, got 20"):
        limits.raise_open_files()


def test_inherited_files_count(limited):
    open_files = len(os.listdir("/proc/self/fd")) - 1
    enough = open_files + limits.OWN_FILES + limits.FILES_OF_CALLERS
    limited(resource.RLIMIT_NOFILE, enough, enough)
    limits.raise_open_files()
    with open(os.devnull), pytest.raises(WrongSettingsError, match=f"at least {enough + 1}, got {enough}"):
        limits.raise_open_files()


def test_missing_threads_are_counted(monkeypatch):
    start, left = threading.Thread.start, iter(range(5))

    def start_some(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(WrongSettingsError, match=r"threads: expected .* may start 27, for .* 3 and .* 1, got 5: see"):
        limits.check_threads(Settings(engine_workers=3, torch_threads=1))


def test_probe_leaves_no_threads():
    before = threading.active_count()
    limits.check_threads(Settings())
    assert threading.active_count() == before


@pytest.mark.parametrize("loaded", [True, False])
def test_address_space_must_hold_the_budget(limited, loaded):
    limited(resource.RLIMIT_AS, 2**30, 2**30)
    with pytest.raises(
        WrongSettingsError, match=r"address space: .* \d+ KiB, for max_inflight_bytes 536870912 .* 1048576"
    ):
        limits.check_address_space(Settings(max_inflight_bytes=2**29), loaded=loaded)
    assert "1048576 KiB" in limits.told_address_space()


def test_unlimited_address_space_is_no_news():
    limits.check_address_space(Settings(), loaded=True)
    assert limits.told_address_space() == ""
