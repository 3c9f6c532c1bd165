"""Does what the documents tell people to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from losswire_server import Server, Settings
from tests.documents import ROOT, fences, run_console
from tests.helpers import serving
from tests.processes import start_ray

DOCUMENTS = [path.relative_to(ROOT) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])]


SDK, RUNS, COMPARE, HEADS = (Path(f"docs/{name}.md") for name in ("sdk", "runs", "compare", "heads"))
BY_TASK = (SDK, RUNS, COMPARE, HEADS)  # each section is a task with snippets in order
SNIPPETS = [
    (document, text) for document in DOCUMENTS if document not in BY_TASK for _, _, text in fences(document, "python")
]
TASKS = [
    (document, section)
    for document in BY_TASK
    for section in dict.fromkeys(section for section, _, _ in fences(document, "python", "console"))
]
RAY = "Evaluate on a Ray cluster"
MARKS = {RAY: (pytest.mark.alone, pytest.mark.timeout(300))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Where the server keeps runs."""
    folder: Path = tmp_path_factory.mktemp("documents")
    return folder / "runs.db"


@pytest.fixture(scope="module")
def server(runs) -> Iterator[Server]:
    with serving(runs=str(runs)) as running:
        yield running


@pytest.fixture(scope="module")
def target(server) -> str:
    return f"127.0.0.1:{server.port}"


def test_readme_has_snippets():
    assert sum(document == Path("README.md") for document, _ in SNIPPETS) >= 3


@pytest.mark.parametrize(("document", "snippet"), SNIPPETS, ids=[str(document) for document, _ in SNIPPETS])
def test_snippet_runs_and_prints_what_it_says(document, snippet, target, capsys):  # noqa: ARG001 - names the test
    run_python(snippet, target, capsys)


def run_python(snippet: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet.replace("localhost:50051", target), "snippet", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"^ *print\(.*\)  # (.*)$", snippet, re.MULTILINE)
    assert len(printed) == len(said)
    for line, words in zip(printed, said, strict=True):
        assert line == words or (words.endswith("...") and line.startswith(words.removesuffix("...")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "section"),
    [pytest.param(*task, id=task[1], marks=MARKS.get(task[1], ())) for task in TASKS],
)
def test_task_can_be_done(document, section, server, target, runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if section == RAY:
        monkeypatch.setattr("ray.init", start_ray)
    if document == RUNS:
        (tmp_path / "runs.db").symlink_to(runs)
    of_task = [fence[1:] for fence in fences(document, "python", "console") if fence[0] == section]
    for language, text in of_task:
        if language == "python":
            run_python(text, target, capsys)
        else:
            assert run_console(text, server, tmp_path) or ">" in text
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} >= set(
        re.findall(r"[\w.]+\.svg", str(of_task))
    )


@pytest.mark.parametrize("document", BY_TASK, ids=str)
def test_document_by_task_lists_its_sections(document):
    text = (ROOT / document).read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(.*)\]\(#", text, re.MULTILINE) == headings
    assert {section for of, section in TASKS if of == document} <= set(headings)


def test_every_section_of_the_sdk_is_a_task():
    headings = re.findall(r"^## (.*)$", (ROOT / SDK).read_text(), re.MULTILINE)
    assert [section for document, section in TASKS if document == SDK] == headings


def test_document_of_runs_has_the_settings_of_runs():
    rows = re.findall(r"^\| `--([a-z-]+)` \|.*\| ([\d,]+)[^|]*\|$", (ROOT / RUNS).read_text(), re.MULTILINE)
    fields = {name: field for name, field in Settings.model_fields.items() if re.search("run_|_runs|key_bytes", name)}
    assert len(fields) == 6
    told = {name: float(default.replace(",", "")) for name, default in rows}
    assert told == {name.replace("_", "-"): field.default for name, field in fields.items()}


def test_make_targets_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", (ROOT / document).read_text())) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_to_files_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize(
    ("document", "heading", "least"),
    [("docs/security.md", "\n## What is promised and tested\n", 20), ("docs/runs.md", "\n### What shows it\n", 8)],
    ids=["security", "runs"],
)
def test_promises_are_tested(document, heading, least):
    """Every row of the section's tables names tests that exist."""
    section = (ROOT / document).read_text().partition(heading)[2]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "| tested by |" not in line]
    assert len(rows) > least
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row.rpartition(" | ")[2])
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (file, test)


def test_security_names_the_settings_of_limits():
    """The table of limits has every setting of how much callers may take."""
    text = (ROOT / "docs/security.md").read_text()
    limits = [name for name in Settings.model_fields if name.startswith(("caller_", "max_message", "max_inflight"))]
    assert len(limits) == 8
    assert [name for name in limits if f"`{name}`" not in text] == []


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:proto|ce_engine|server|client|tests|docs)/[\w./]+\.\w+)`", text)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
