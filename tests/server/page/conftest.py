import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

WAIT = 45_000  # milliseconds; the page looks every two seconds
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; make test unpacks Debian's")
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had, and /dev/shm may be small.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a page in a window of its own. No request may leave the server, and none but expected errors come up."""

    @contextmanager
    def opening(url: str, *, expected: Sequence[str] = (), **options) -> Iterator[Page]:
        context = browser.new_context(**options)
        context.set_default_timeout(WAIT)
        requests, errors = [], []
        context.on("request", lambda request: requests.append(request.url))
        context.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        context.on("weberror", lambda raised: errors.append(str(raised.error)))
        page = context.new_page()
        page.goto(url)
        try:
            yield page
        finally:
            context.close()
        assert len(requests) > 10
        assert [request for request in requests if not request.startswith(url)] == []
        assert [error for error in errors if not any(words in error for words in expected)] == []

    return opening
