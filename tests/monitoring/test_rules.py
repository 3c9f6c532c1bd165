"""Recording rules and alerts, checked by Prometheus's own tool."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.monitoring.objectives import OBJECTIVES, SLOW_SECONDS
from losswire.monitoring.metrics import METRICS
from tests.documents import ROOT
from tests.monitoring.promql import recorded, rule_files, rules
from tests.processes import run

FOLDER = ROOT / "deploy/prometheus"
CASES = sorted((Path(__file__).parent / "alerts").glob("*.test.yml"))
ALERTS = {rule["alert"] for rule in rules("alert")}
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def promtool(*arguments: str | Path) -> str:
    """What promtool says; it must find no fault."""
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed; Debian's package prometheus has it")
    done = run([binary, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.parametrize("name", rule_files())
def test_rules_are_right(name):
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", FOLDER / name)


def test_configuration_is_right():
    assert f"SUCCESS: {len(rule_files())} rule files found" in promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_fire_when_they_should(case):
    assert "SUCCESS" in promtool("test", "rules", case)


def checked(*, firing: bool) -> set[str]:
    """The alerts that the cases expect to fire, or to be silent."""
    tests = [test for case in CASES for test in yaml.safe_load(case.read_text())["tests"]]
    each = [check for test in tests for check in test["alert_rule_test"]]
    return {check["alertname"] for check in each if bool(check.get("exp_alerts")) == firing}


def test_every_alert_is_seen_firing_and_silent():
    assert checked(firing=True) == ALERTS
    healthy = next(case for case in CASES if case.name == "healthy.test.yml").read_text()
    assert set(re.findall(r"alertname: (\w+)", healthy)) == ALERTS
    assert "exp_alerts" not in healthy


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_alert_says_what_to_do(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert all(annotations[name].endswith(".") for name in ("summary", "description"))
    assert annotations["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_every_alert_has_a_runbook():
    headings = re.findall(r"^### (Losswire\w+)$", OPERATIONS, re.MULTILINE)
    assert len(set(headings)) == len(headings)
    assert set(headings) == ALERTS


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_runbook_says_where_to_look_and_what_to_do(alert):
    text = OPERATIONS.partition(f"### {alert}\n")[2].partition("\n#")[0]
    assert "ook at" in text
    assert len(text.split()) > 40


@pytest.mark.parametrize("name", recorded())
def test_recorded_metric_has_a_conventional_name(name):
    level, metric, operations = name.split(":")
    assert set(level.split("_")) <= {"job", "series", "loss"}
    assert re.fullmatch(r"[a-z_]+", metric)
    assert re.fullmatch(r"([a-z0-9_]+_)?rate\d+[mhd]", operations)


def test_bound_of_latency_is_one_of_the_buckets():
    assert SLOW_SECONDS in METRICS["grpc_server_handling_seconds"].buckets


def test_operations_tells_the_objectives():
    for objective in OBJECTIVES:
        assert f"**{objective.key}: {100 * objective.target:g} % of the calls" in OPERATIONS
    assert f"less than {SLOW_SECONDS:g} s" in OPERATIONS
