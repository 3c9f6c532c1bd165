import http.client
import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from losswire.monitoring.expressions import to_json
from losswire.monitoring.figures import FIGURES
from losswire_server.metrics.http_server import MetricsServer
from losswire_server.page.files import TYPES, page_files
from losswire_server.process.listening import Address
from tests.server.page.vendored import STATIC

TEXTS = {path: path.read_text() for path in STATIC.rglob("*.*") if path.parent.name != "vendor"}


@pytest.fixture
def ask():
    server = MetricsServer(Address("127.0.0.1", 0, "", ""), make_wsgi_app(CollectorRegistry()), lambda: True)
    server.start()

    def asked(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    yield asked
    server.close()


def test_all_files_are_served_as_what_they_are(ask):
    for path, file in page_files().items():
        status, headers, body = ask(path)
        assert (status, body, headers["Content-Type"]) == (200, file.content, file.content_type)
        assert headers["Content-Length"] == str(len(body))
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_file_that_a_browser_has_is_not_sent_again(ask):
    _, headers, body = ask("/page/main.js")
    status, again, nothing = ask("/page/main.js", **{"If-None-Match": headers["ETag"]})
    assert (status, nothing, again["ETag"]) == (304, b"", headers["ETag"])
    for several in (f"W/{headers['ETag']}", f'"another", {headers["ETag"]}'):  # as proxies that compress ask
        assert ask("/page/main.js", **{"If-None-Match": several})[0] == 304
    assert ask("/page/main.js", **{"If-None-Match": '"another"'})[::2] == (200, body)
    assert headers["Cache-Control"] == "no-cache"  # it is asked for again, so that a new server has its own page


def test_head_of_a_file_has_no_body(ask):
    status, headers, body = ask("/page/page.css", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/nothing"])
def test_no_browser_guesses_what_an_answer_is(ask, path):
    assert ask(path)[1]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/page", "/page/", "/page/../files.py", "/page/vendor/LICENSE", "/page/%2e%2e/files.py"]
)
def test_nothing_else_is_served(ask, path):
    assert ask(path)[0] == 404


def test_figures_are_those_of_the_table(ask):
    sections = json.loads(ask("/page/figures.json")[2])["sections"]
    figures = {figure["key"]: figure for section in sections for figure in section["figures"]}
    assert figures.keys() == FIGURES.keys()
    for key, figure in FIGURES.items():
        told = figures[key]
        assert (told["title"], told["unit"], told["meaning"]) == (figure.title, figure.unit, figure.meaning)
        expressions = [json.loads(json.dumps(to_json(curve.expression))) for curve in figure.curves]
        assert [curve["expression"] for curve in told["curves"]] == expressions


def test_what_files_load_is_there():
    for path, text in TEXTS.items():
        loaded = re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE) if path.suffix == ".js" else []
        assert [name for name in loaded if not (path.parent / name).is_file()] == []
    page = TEXTS[STATIC / "index.html"]
    loaded = re.findall(r'(?:href|src)="page/(.*?)"', page)
    assert len(loaded) > 4
    assert [name for name in loaded if not (STATIC / name).is_file()] == []


def test_page_has_no_code_or_style_within_and_no_address_outside():
    page = TEXTS[STATIC / "index.html"]
    assert re.findall(r"<style|style=|\son\w+=|<script>", page) == []
    for path, text in TEXTS.items():
        hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.[a-z]+)", text))
        assert hosts <= {"www.w3.org"}, path  # names the language of pictures; nothing is loaded from it


def test_foreign_names_never_become_markup():
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    assert [path.name for path, text in TEXTS.items() if re.search(ways, text)] == []


def test_every_kind_of_file_has_a_type():
    assert {path.suffix for path in TEXTS} <= set(TYPES)
    assert {Path(path).suffix for path in page_files()} - {""} == set(TYPES) - {".html"}
