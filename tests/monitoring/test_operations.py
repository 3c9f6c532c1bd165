"""The document of operations names what there is."""

import re

from deploy.monitoring.objectives import BURNS
from losswire.monitoring.labels import STAGES
from tests.documents import ROOT
from tests.monitoring.boards import FOLDER, KEYS, board, panels

TEXT = (ROOT / "docs/operations.md").read_text()


def test_figures_that_it_names_are_on_the_dashboards():
    titles = {panel["title"] for key in KEYS for panel in panels(key)} | {
        board(path.stem)["title"] for path in FOLDER.iterdir()
    }
    rows = {panel["title"] for key in KEYS for panel in board(key)["panels"] if panel["type"] == "row"}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", TEXT.replace("\n", " ")))
    assert len(named) > 20
    assert named - titles - rows - {"Targets"} == set()


def test_links_within_it_lead_somewhere():
    anchors = {
        re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\(#([\w-]+)\)", TEXT)) <= anchors


def test_it_lists_its_sections():
    assert re.findall(r"^- \[(.*)\]\(#", TEXT, re.MULTILINE) == re.findall(r"^## (.*)$", TEXT, re.MULTILINE)


def test_it_explains_every_stage():
    assert tuple(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == STAGES


def test_severities_of_speeds_are_told():
    told = re.findall(r"^\| ([\d.]+) \| .* \| (\w+) \|$", TEXT, re.MULTILINE)
    assert told == [(f"{burn.factor:g}", burn.severity) for burn in BURNS]


def test_runbooks_on_the_dashboard_have_no_dead_links():
    (panel,) = panels("runbooks")
    assert "](" not in re.sub(r"\]\(https?:", "", panel["options"]["content"])
