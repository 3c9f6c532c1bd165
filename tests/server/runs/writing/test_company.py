"""Which callers are written together."""

import asyncio
from collections.abc import Iterator

import pytest

from losswire_server.runs.writing import writer as module
from losswire_server.runs.writing.writer import Writer
from tests.server.runs.making import entry

NEVER = 3600.0
ENTRY = entry("k", 1.0)


@pytest.fixture
def sizes():
    """Of the bundles that were written."""
    return []


@pytest.fixture
def writer(sizes) -> Iterator[Writer]:
    def write(entries):
        sizes.append(len(entries))
        return [False] * len(entries)

    one = Writer(write, lambda: NEVER)
    yield one
    one.close()


def run(writer: Writer, *waves: int, work: bool = False) -> None:
    """Has so many callers come at the same moment, again and again once all of them are answered."""

    async def come() -> None:
        first, *others = waves
        calls = [writer.add([ENTRY]) for _ in range(first)]
        writer.start()
        await asyncio.gather(*calls)
        for wave in others:
            calls = [writer.add([ENTRY]) for _ in range(wave)]
            if work:
                await asyncio.wrap_future(writer.do(lambda: None))
            await asyncio.gather(*calls)

    asyncio.run(asyncio.wait_for(come(), 20))


def test_callers_of_a_bundle_come_together_again(writer, sizes, monkeypatch):
    monkeypatch.setattr(module, "COMPANY_SECONDS", NEVER)
    run(writer, 5, 5, 5)
    assert sizes == [5, 5, 5]


def test_callers_wait_in_vain_for_a_moment_only(writer, sizes):
    run(writer, 5, 1, 1)
    assert sizes == [5, 1, 1]


def test_one_caller_waits_for_nobody(writer, sizes, monkeypatch):
    monkeypatch.setattr(module, "COMPANY_SECONDS", NEVER)
    run(writer, 1, 1, 1)
    assert sizes == [1, 1, 1]


def test_other_work_waits_for_no_company(writer, sizes, monkeypatch):
    monkeypatch.setattr(module, "COMPANY_SECONDS", NEVER)
    run(writer, 5, 1, work=True)
    assert sizes == [5, 1]


def test_closed_writer_waits_for_no_company(writer, sizes, monkeypatch):
    monkeypatch.setattr(module, "COMPANY_SECONDS", NEVER)
    run(writer, 5)

    async def come_and_close() -> None:
        call = writer.add([ENTRY])
        await asyncio.to_thread(writer.close)
        await call

    asyncio.run(asyncio.wait_for(come_and_close(), 20))
    assert sizes == [5, 1]
