"""What the documents tell people to do is done here."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path.relative_to(ROOT) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])]


def fences(document: Path, language: str) -> list[str]:
    tokens = MarkdownIt().parse((ROOT / document).read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


SNIPPETS = [(document, snippet) for document in DOCUMENTS for snippet in fences(document, "python")]


def test_readme_has_snippets():
    assert sum(document == Path("README.md") for document, _ in SNIPPETS) >= 3


@pytest.mark.parametrize(("document", "snippet"), SNIPPETS, ids=[str(document) for document, _ in SNIPPETS])
def test_snippet_runs_and_prints_what_it_says(document, snippet, target, capsys):
    exec(compile(snippet.replace("localhost:50051", target), str(document), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"^ *print\(.*\)  # (.*)$", snippet, re.MULTILINE)
    assert len(printed) == len(said)
    for line, words in zip(printed, said, strict=True):
        assert line == words or (words.endswith("...") and line.startswith(words.removesuffix("...")))


def test_make_targets_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", (ROOT / document).read_text())) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_to_files_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:proto|ce_engine|server|client|tests|docs)/[\w./]+\.\w+)`", text)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
