"""The recipes of CONTRIBUTING.md name the files that they touch."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("proto/protos", "proto/src", "ce_engine/src", "server/src", "client/src")

EXAMPLES = {"a loss": ("nll_loss", "linear_cross_entropy", "kl_divergence"), "an option": ("label_smoothing",)}
OF_OTHER_KINDS = {  # options that are tensors, enums or heads
    "proto/src/losswire/fields.py",
    "server/src/losswire_server/requests/groups.py",
    "server/src/losswire_server/requests/heads/named.py",
    "server/src/losswire_server/requests/planning.py",
    "server/src/losswire_server/requests/slabs/stream_header.py",
}


def recipe(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.partition(f"## How to add {title}\n")[2].partition("\n## ")[0]


def named(title: str) -> set[str]:
    """Paths of files, and of folders with a slash at the end, in the recipe of this title."""
    return {path for path in re.findall(r"`([\w/.]+)`", recipe(title)) if path.startswith(SOURCES)}


def touched(word: str) -> set[str]:
    """Handwritten sources that contain a word."""
    files = [path for source in SOURCES for path in (ROOT / source).rglob("*.*") if path.suffix in (".py", ".proto")]
    found = [path for path in files if "_pb2" not in path.name and re.search(rf"\b{word}\b", path.read_text())]
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.parametrize(("title", "word"), [(title, word) for title, words in EXAMPLES.items() for word in words])
def test_recipe_names_what_it_touches(title, word):
    paths = named(title)
    folders = tuple(path for path in paths if path.endswith("/"))
    assert {path for path in touched(word) if not path.startswith(folders)} <= paths


@pytest.mark.parametrize("title", ["a loss", "an option", "a transport", "an RPC", "a metric", "a setting"])
def test_recipe_names_what_exists(title):
    assert named(title)
    assert [path for path in named(title) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("title", EXAMPLES)
def test_recipe_names_no_more(title):
    files = {file for word in EXAMPLES[title] for file in touched(word)}
    idle = {path for path in named(title) - OF_OTHER_KINDS if not any(file.startswith(path) for file in files)}
    assert idle <= {"ce_engine/src/ce_engine/gpu/kernels/"}  # its files are named after their computations
