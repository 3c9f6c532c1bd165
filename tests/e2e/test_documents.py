"""Does what the documents tell people to do."""

import re
from pathlib import Path

import pytest

from losswire_server import Settings
from tests.client.runs.fake_service import serving_runs
from tests.documents import ROOT, fences, run_console

DOCUMENTS = [path.relative_to(ROOT) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])]


SDK = Path("docs/sdk.md")  # each section is a task with snippets in order
SNIPPETS = [(document, text) for document in DOCUMENTS if document != SDK for _, _, text in fences(document, "python")]
TASKS = {
    section: [fence[1:] for fence in fences(SDK, "python", "console") if fence[0] == section]
    for section, _, _ in fences(SDK, "python", "console")
}
OF_RUNS = ("Merge results to the last bit", "Evaluate with many workers")  # by a service that keeps runs


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


@pytest.mark.parametrize("task", OF_RUNS)
def test_task_with_exact_sums_can_be_done(task, capsys):
    with serving_runs() as service:
        for language, text in TASKS[task]:
            assert language == "python"
            run_python(text, service.target, capsys)


@pytest.mark.parametrize("task", [task for task in TASKS if task not in OF_RUNS])
def test_task_of_the_sdk_can_be_done(task, server, target, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, text in TASKS[task]:
        if language == "python":
            run_python(text, target, capsys)
        else:
            assert run_console(text, server, tmp_path) or ">" in text
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} >= set(
        re.findall(r"[\w.]+\.svg", str(TASKS[task]))
    )


def test_sdk_document_lists_its_sections():
    text = (ROOT / SDK).read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(.*)\]\(#", text, re.MULTILINE) == headings
    assert set(TASKS) == set(headings)


def test_make_targets_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", (ROOT / document).read_text())) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_to_files_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


def test_promises_of_security_are_tested():
    """Every row of the last section's tables names tests that exist."""
    section = (ROOT / "docs/security.md").read_text().partition("\n## What is promised and tested\n")[2]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "| tested by |" not in line]
    assert len(rows) > 20
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
