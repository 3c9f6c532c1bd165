"""The page in a real Chromium, of a port of metrics that shows what is hard to have of a server."""

import itertools
import threading

import pytest
from playwright.sync_api import expect

from tests.helpers import eventually
from tests.server.page.conftest import WAIT
from tests.server.page.drawn import coloured
from tests.server.page.expositions import MARKUP, NAMES, exposition
from tests.server.page.made_up import shown


def growing():
    turns = itertools.count(1)
    return lambda: exposition(next(turns))


def many(count):
    """Metrics of many series, of which the last are the busiest."""
    turns = itertools.count(1)

    def text():
        turn, lines = next(turns), []
        for number in range(1, count + 1):
            labels = f'series="run-{number:03}",loss="cross_entropy"'
            lines.append(f'losswire_rows_total{{{labels},dtype="float32",transport="unary"}} {number * turn}')
            for name, value in (("loss", number), ("weight", 1)):
                lines.append(f"losswire_{name}_sum_total{{{labels}}} {value * turn}")
                lines.append(f"losswire_negative_{name}_sum_total{{{labels}}} 0")
            for bound, part in (("0.5", 1), ("1.0", 2), ("+Inf", 2)):
                lines.append(f'losswire_row_loss_bucket{{{labels},le="{bound}"}} {part * turn}')
        return "\n".join([*lines, ""])

    return text


@pytest.mark.slow
def test_first_look_is_not_empty(opened):
    once = exposition(3)
    with shown(lambda: once) as (url, _), opened(url) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        sums = page.locator("td[data-title='Since the start']").all_text_contents()
        assert sums
        assert [text for text in sums if not text[-1].isdigit()] == []
        expect(page.locator(".tile[data-figure=calls] .note")).to_contain_text("since the start")


@pytest.mark.slow
def test_server_that_drains_is_told(opened):
    with shown(growing()) as (url, server), opened(url, expected=["503"]) as page:
        expect(page.get_by_role("status").first).to_have_text("Serving")
        server.serving = False
        expect(page.get_by_role("status").first).to_contain_text("Not serving")
        server.serving = True
        expect(page.get_by_role("status").first).to_have_text("Serving")


@pytest.mark.slow
def test_server_whose_metrics_do_not_come_is_not_told_to_be_away(opened):
    metrics, broken = growing(), threading.Event()

    def text():
        if broken.is_set():
            raise RuntimeError("no metrics today")
        return metrics()

    with shown(text) as (url, _), opened(url, expected=["500"]) as page:
        expect(page.get_by_role("status").first).to_have_text("Serving")
        broken.set()
        expect(page.get_by_role("status").first).to_contain_text("Metrics do not come since")
        broken.clear()
        expect(page.get_by_role("status").first).to_have_text("Serving")


@pytest.mark.slow
def test_names_of_series_are_texts(opened):
    """The server refuses such names today. A page must not rely on it."""
    with shown(growing()) as (url, _), opened(url) as page:
        for name in NAMES["series"]:
            button = page.locator("#series-rows").get_by_role("button", name=" ".join(name.split()), exact=True).first
            expect(button).to_be_visible()
        expect(page.locator("#losses-legend")).to_contain_text(MARKUP)
        assert page.locator("#series-rows b, .legend b").count() == 0


@pytest.mark.slow
def test_gpu_has_a_section_only_where_there_is_one(opened):
    without = "\n".join(line for line in exposition(1).splitlines() if "losswire_device" not in line)
    with shown(lambda: without) as (url, _), opened(url) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        expect(page.get_by_role("heading", name="GPU", exact=True)).to_be_hidden()
    with shown(growing()) as (url, _), opened(url) as page:
        expect(page.get_by_role("heading", name="GPU", exact=True)).to_be_visible()


@pytest.mark.slow
def test_runs_have_a_section_only_where_there_are_some(opened):
    without = "\n".join(line for line in exposition(1).splitlines() if "losswire_run_" not in line)
    with shown(lambda: without) as (url, _), opened(url) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_hidden()
        expect(page.get_by_role("link", name="Runs", exact=True)).to_be_hidden()
    with shown(lambda: without + RUN) as (url, server), opened(url) as page:
        row = page.locator("#run-rows tr")
        expect(row.get_by_role("rowheader")).to_have_text(MARKUP)
        expect(row.locator("td")).to_have_text(["75%", "3 of 4", "1,234", "1.2500", "0", "open"])
        assert page.evaluate("document.querySelector('#run-rows progress').value") == 0.75
        expect(page.get_by_role("link", name="Runs", exact=True)).to_be_visible()
        server.text = lambda: without + RUN.replace("} 0", "} 1").replace("expected", "other")
        expect(row.locator("td")).to_have_text(["\N{EN DASH}", "3", "1,234", "1.2500", "1", "finished"])
        expect(row.locator("progress")).to_be_hidden()
        server.text = lambda: without
        expect(row).to_have_count(0)


@pytest.mark.slow
def test_phone_shows_every_run_without_a_window_in_the_page(opened):
    many = "".join(RUN.replace(MARKUP, f"run-{number}") for number in range(10))
    with shown(lambda: many.lstrip()) as (url, _), opened(url, viewport={"width": 360, "height": 800}) as page:
        expect(page.locator("#run-rows tr")).to_have_count(10)
        heights = "(({clientHeight, scrollHeight}) => [clientHeight, scrollHeight])"
        shown_height, height = page.evaluate(f"{heights}(document.querySelector('#runs .scroller'))")
        assert shown_height == height > 800


RUN = "".join(
    f'\nlosswire_run_{name}{{run="{MARKUP}"}} {number}'
    for name, number in {
        "keys": 3,
        "expected_keys": 4,
        "rows": 1234,
        "mean_loss": 1.25,
        "nonfinite_rows": 0,
        "finished": 0,
    }.items()
)


@pytest.mark.slow
def test_many_series_are_in_the_table_and_the_busiest_in_the_chart(opened):
    with shown(many(100)) as (url, _), opened(url) as page:
        expect(page.locator("#series-rows tr")).to_have_count(100)
        expect(page.locator("#losses-legend li")).to_have_count(8)
        expect(page.locator("#losses-legend li").first).to_contain_text("run-100")
        expect(page.locator("#losses-more")).to_have_text("The busiest 8 of 100")
        page.get_by_label("Filter").fill("RUN-01")
        expect(page.locator("#series-rows tr")).to_have_count(10)
        expect(page.locator("#series-count")).to_have_text("10 of 100 series")


@pytest.mark.slow
def test_chosen_series_is_alone_with_its_quantiles(opened):
    with shown(many(20)) as (url, _), opened(url) as page:
        button = page.locator("#series-rows").get_by_role("button", name="run-003")
        expect(page.locator("#losses-legend li")).to_have_count(8)
        button.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
        texts = ["run-003 · cross_entropy3.0000", "p90 of rows0.90000", "p10 of rows0.10000"]
        expect(page.locator("#losses-legend li")).to_have_text(texts)
        coloured(page, "#losses-plot")
        page.get_by_role("button", name="Show all series").click()
        expect(page.locator("#losses-legend li")).to_have_count(8)


IDLE = """
losswire_rows_total{series="idle",loss="nll_loss",dtype="float32",transport="unary"} 7
losswire_nonfinite_rows_total{series="idle",loss="nll_loss"} 1
"""


@pytest.mark.slow
def test_chosen_series_that_is_idle_has_no_lines_of_others(opened):
    others = many(20)
    with shown(lambda: others() + IDLE) as (url, _), opened(url) as page:
        expect(page.locator("#losses-legend li")).to_have_count(8)
        row = page.locator("#series-rows tr").filter(has=page.get_by_role("button", name="idle"))
        expect(row.locator(".left-out")).to_have_text("1 row not finite")
        row.get_by_role("button").click()
        expect(page.locator("#losses-nothing")).to_be_visible()
        expect(page.locator("#losses-legend li")).to_have_count(0)
        page.get_by_role("button", name="Show all series").click()
        expect(page.locator("#losses-legend li")).to_have_count(8)


@pytest.mark.slow
def test_chosen_series_that_the_server_forgets_makes_room_for_all(opened):
    others, idle = many(20), [IDLE]
    with shown(lambda: others() + "".join(idle)) as (url, _), opened(url) as page:
        expect(page.locator("#losses-legend li")).to_have_count(8)
        page.locator("#series-rows").get_by_role("button", name="idle").click()
        expect(page.locator("#losses-legend li")).to_have_count(0)
        idle.clear()
        expect(page.locator("#losses-legend li")).to_have_count(8)
        expect(page.get_by_role("button", name="Show all series")).to_be_hidden()


@pytest.mark.slow
def test_paper_has_all_charts_and_the_whole_table(opened):
    with shown(many(100)) as (url, _), opened(url, viewport={"width": 1280, "height": 300}) as page:
        expect(page.locator("#series-rows tr")).to_have_count(100)
        expect(page.locator("figure[data-figure=rows] .nothing")).to_be_hidden()
        assert page.locator("figure[data-figure=rows] canvas").count() == 0  # it is out of sight
        page.pdf()
        assert page.locator("figure[data-figure=rows] canvas").count() == 1
        page.emulate_media(media="print")
        assert page.evaluate("(node => node.scrollHeight <= node.clientHeight)(document.querySelector('.scroller'))")


@pytest.mark.slow
def test_fault_in_a_view_does_not_end_the_looking(opened):
    asked, metrics = [], many(3)

    def text():
        asked.append(metrics())
        return asked[-1]

    with shown(text) as (url, _), opened(url, expected=["broken view"]) as page:
        expect(page.locator("#losses-legend li")).to_have_count(3)
        page.evaluate("void (document.getElementById = () => { throw new Error('broken view') })")
        until = len(asked) + 3
        eventually(lambda: page.wait_for_timeout(100) or len(asked) >= until, WAIT / 1000)


@pytest.mark.slow
def test_hidden_page_asks_for_nothing(opened):
    asked, metrics = [], many(3)

    def text():
        asked.append(metrics())
        return asked[-1]

    with shown(text) as (url, _), opened(url) as page:
        expect(page.locator("#series-rows tr").first).to_be_visible()
        hide(page, hidden=True)
        before = len(asked)
        page.wait_for_timeout(5000)  # nothing else shows that nothing comes
        assert len(asked) <= before + 1  # one may have been under way
        hide(page, hidden=False)
        coloured(page, "#losses-plot")


def hide(page, *, hidden):
    state = "true" if hidden else "false"
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{ value: {state}, configurable: true }})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.slow
def test_motion_is_the_readers(opened):
    with shown(growing()) as (url, _), opened(url, reduced_motion="reduce") as page:
        moves = "getComputedStyle(document.querySelector('main')).transitionProperty"
        assert page.evaluate(moves) == "none"
        page.emulate_media(reduced_motion="no-preference")
        assert page.evaluate(moves) != "none"
