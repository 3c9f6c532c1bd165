"""What `make monitoring` writes is committed as the tables give it."""

from pathlib import Path

import pytest

from deploy.monitoring import __main__ as command
from deploy.monitoring.metrics_page import page
from deploy.monitoring.written import written
from tests.documents import ROOT
from tests.monitoring.boards import FOLDER

WRITTEN = written(ROOT)


@pytest.mark.parametrize("name", WRITTEN)
def test_file_is_as_the_tables_give_it(name):
    assert (ROOT / name).read_text() == WRITTEN[name], "run make monitoring"


def test_every_dashboard_is_written():
    assert {path.name for path in FOLDER.iterdir()} == {Path(name).name for name in WRITTEN if ".json" in name}


def test_command_writes_what_has_changed(tmp_path, monkeypatch, capsys):
    for name in (*WRITTEN, "docs/operations.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    changed = tmp_path / "deploy/grafana/dashboards/losses.json"
    changed.unlink()
    monkeypatch.setattr(command, "ROOT", tmp_path)
    command.main()
    assert capsys.readouterr().out == "wrote deploy/grafana/dashboards/losses.json\n"
    assert changed.read_text() == WRITTEN["deploy/grafana/dashboards/losses.json"]


def test_page_without_a_place_for_tables_is_refused():
    with pytest.raises(ValueError, match="0 places"):
        page("# Metrics\n")
