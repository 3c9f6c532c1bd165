"""The page in a real Chromium, of a real server under load."""

import math
import threading
from contextlib import ExitStack, contextmanager
from urllib.parse import urlparse

import numpy as np
import pytest
from playwright.sync_api import expect

from losswire.monitoring.figures import FIGURES
from losswire_client import Client
from losswire_server import launch
from tests.server.page.drawn import coloured

MEAN = math.log(3)  # of three classes that are all as likely


@contextmanager
def load(server):
    """Calls without a pause, and rows that are NaN now and then."""
    stop = threading.Event()

    def call():
        logits, target = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])
        broken = np.full((1, 3), np.nan, np.float32)
        with Client(server.target) as client:
            while not stop.is_set():
                client.cross_entropy(logits, target, series="known", outputs=["predictions"])
                client.cross_entropy(logits, target, series="other:one", grad=True)
                client.cross_entropy(broken, [0], series="broken")
                stop.wait(0.01)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        stop.set()
        caller.join()


@pytest.fixture(scope="module")
def url():
    with launch() as server, load(server):
        yield server.metrics_url.removesuffix("metrics")


@pytest.mark.slow
def test_page_shows_what_the_server_does(opened, url):
    with opened(url) as page:
        expect(page.get_by_role("status").first).to_have_text("Serving")
        row = page.get_by_role("row").filter(has=page.get_by_role("button", name="known"))
        expect(row.locator(".mean")).to_have_text(f"{MEAN:.4f}")  # of the window
        expect(row.locator("td[data-title='Since the start']")).to_have_text(f"{MEAN:.4f}")
        expect(row.locator(".series_rows")).not_to_have_text("0/s")
        coloured(page, "#losses-plot")
        for figure in ("calls", "latency", "rows", "stage_share", "resident"):
            place = f"figure[data-figure={figure}]"
            page.locator(place).scroll_into_view_if_needed()
            coloured(page, place)
        expect(page.locator(".tile[data-figure=calls] .number")).not_to_have_text("0/s")
        expect(page.locator("#version")).to_contain_text("version 0.2.0")
        expect(page.locator("#uptime")).to_contain_text("up ")


@pytest.mark.slow
def test_rows_that_are_not_finite_stand_out(opened, url):
    with opened(url) as page:
        row = page.locator("#series-rows tr").first  # what loses something is first
        expect(row.get_by_role("button")).to_have_text("broken")
        expect(row).to_have_class("has-left-out is-losing")
        expect(row.locator(".left-out")).to_contain_text("rows not finite")


@pytest.mark.slow
def test_all_figures_have_a_place(opened, url):
    with opened(url) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        shown = page.eval_on_selector_all("[data-figure]", "nodes => nodes.map(node => node.dataset.figure)")
        assert set(shown) == FIGURES.keys()
        for key, figure in FIGURES.items():
            card = page.locator(f"section figure[data-figure={key}]")
            if card.count():
                expect(card).to_contain_text(figure.title)


@pytest.mark.slow
def test_theme_is_the_readers(opened, url):
    with opened(url, color_scheme="dark") as page:
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        coloured(page, "#losses-plot")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(color_scheme="light")
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        coloured(page, "#losses-plot")
        page.get_by_label("Theme").select_option("dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.slow
def test_page_is_no_wider_than_the_window(opened, url):
    with opened(url, viewport={"width": 360, "height": 800}) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        for width in (360, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            coloured(page, "#losses-plot")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            inner = "[...document.querySelectorAll('main *')].filter(node => !node.closest('.scroller, .plot'))"
            wide = f"{inner}.filter(node => node.getBoundingClientRect().right > {width}).map(node => node.outerHTML)"
            assert page.evaluate(wide) == []


@pytest.mark.slow
def test_reload_keeps_the_lines(opened, url):
    with opened(url) as page:
        coloured(page, "#losses-plot")
        page.reload()
        expect(page.get_by_role("status").first).to_have_text("Serving")
        assert page.evaluate("JSON.parse(sessionStorage.getItem('losswire-history'))[0].length") > 0
        coloured(page, "#losses-plot")


@pytest.mark.slow
def test_stop_is_seen_and_the_return_too(opened):
    with ExitStack() as running:
        server = running.enter_context(launch())
        url = server.metrics_url.removesuffix("metrics")
        with opened(url, expected=["net::ERR_", "503"]) as page:
            expect(page.get_by_role("status").first).to_have_text("Serving")
            running.close()
            expect(page.get_by_role("status").first).to_contain_text("No answer since")
            expect(page).to_have_title("Losswire: unreachable")
            with launch(metrics_port=urlparse(url).port):
                expect(page.get_by_role("status").first).to_have_text("Serving")


@pytest.mark.slow
def test_without_scripts_the_numbers_are_linked_and_nothing_waits_for_more(browser, url):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_role("link", name="metrics", exact=True)).to_be_visible()
    expect(page.locator("noscript p")).to_be_visible()
    for place in ("#state", "main", "#theme"):
        expect(page.locator(place)).to_be_hidden()
    context.close()
