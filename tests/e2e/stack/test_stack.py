"""``make stack``: its pieces, driven by its load, asked through Prometheus."""

import json
import os
import signal
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml

from deploy.stack.compose import services
from deploy.stack.load import KINDS, Done, sending
from deploy.stack.pieces import NotStartedError
from deploy.stack.ports import HOST, Ports
from deploy.stack.running import running
from tests.documents import ROOT
from tests.e2e.stack.dashboards import Expression, expressions
from tests.helpers import eventually
from tests.present import present
from tests.processes import run, started

pytestmark = pytest.mark.slow  # five programs, for half a minute

PANELS = expressions(ROOT / "deploy/grafana/dashboards")
RULES = [
    rule.get("record") or rule["alert"]
    for file in sorted((ROOT / "deploy/prometheus").glob("*.rules.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
HANDLED = 'increase(grpc_server_handled_total{grpc_service="losswire.v1.LossService", grpc_code="OK"}[1m])'
ELSEWHERE = (  # metrics of servers on GPUs, of servers of several processes, and of servers that encrypt
    *("losswire_device_", "losswire_processes", "losswire_process_restarts_total"),
    "losswire_certificate_expiry_timestamp_seconds",
)
SECONDS = 60.0  # in which what is expected must come about


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[Ports, Done]]:
    """The stack under its load, once every kind of call was answered."""
    try:
        with running(any_free=True, scrape_interval="1s") as (ports, _):
            proxy, server = (f"{HOST}:{ports[place, 50051][0]}" for place in ("envoy", "server"))
            with sending(proxy, server, KINDS) as done:
                eventually(lambda: done.calls.keys() == KINDS.keys(), SECONDS)
                yield ports, done
    except NotStartedError as error:
        pytest.skip(str(error)) if "not found" in str(error) else pytest.fail(str(error))


@pytest.fixture(scope="module")
def ports(stack: tuple[Ports, Done]) -> Ports:
    return stack[0]


def asked(ports: Ports, path: str, **query: str) -> Any:
    """What Prometheus answers."""
    url = f"http://{HOST}:{ports['prometheus', 9090][0]}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return json.load(answer)["data"]


def values(ports: Ports, expression: str) -> dict[str, float]:
    """The values of an expression, by the label instance."""
    told = asked(ports, "query", query=expression)["result"]
    return {each["metric"].get("instance", ""): float(each["value"][1]) for each in told}


def test_load_spreads_over_the_servers(ports):
    """Half of it each, but for the one caller that leaves the proxy out; the rest is for chance."""

    def shares() -> list[float]:
        handled = values(ports, f"sum by (instance) ({HANDLED})").values()
        return [each / sum(handled) for each in handled] if sum(handled) > 200 else []

    def are_even() -> bool:
        each = shares()
        return len(each) == 2 and min(each) > 0.3

    eventually(are_even, SECONDS)


def test_every_target_is_up(ports):
    def health() -> set[tuple[str, str, str]]:
        told = asked(ports, "targets", state="active")["activeTargets"]
        return {(each["labels"]["job"], each["labels"]["instance"], each["health"]) for each in told}

    expected = {("losswire", f"{HOST}:{port}", "up") for port in ports["server", 9464]}
    expected |= {("envoy", f"{HOST}:{ports['envoy', 9902][0]}", "up")}
    eventually(lambda: health() == expected, SECONDS)


def is_elsewhere(panel: Expression) -> bool:
    return any(metric in panel.text for metric in ELSEWHERE)


def is_empty(ports: Ports, panel: Expression) -> bool:
    return not asked(ports, "query", query=panel.text)["result"]


@pytest.fixture(scope="module")
def empty(ports) -> list[Expression]:
    """The panels without data, once those have some that can have it here, or never will."""
    waiting = [panel for panel in PANELS if not is_elsewhere(panel)]

    def are_filled() -> bool:
        waiting[:] = [panel for panel in waiting if is_empty(ports, panel)]
        return not waiting

    with suppress(AssertionError):
        eventually(are_filled, SECONDS)
    return waiting + [panel for panel in PANELS if is_elsewhere(panel) and is_empty(ports, panel)]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel.dashboard}: {panel.panel}")
def test_panel_has_data(empty, panel):
    """All have some, but for those that show what this stack has not."""
    assert (panel in empty) is is_elsewhere(panel), panel.text


def test_scaling_on_kubernetes_asks_for_what_there_is(ports):
    scaled = yaml.safe_load((ROOT / "deploy/kubernetes/components/autoscaling/scaledobject.yaml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    query, otherwise = trigger["metadata"]["query"].split(" or ")
    assert otherwise == "vector(0)"  # without calls
    eventually(lambda: asked(ports, "query", query=query)["result"] != [], SECONDS)
    ((_, seconds),) = [each["value"] for each in asked(ports, "query", query=query)["result"]]
    assert 0 <= float(seconds) < 60


def test_rules_are_evaluated_without_error(ports):
    def told() -> list[dict[str, Any]]:
        return [rule for group in asked(ports, "rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in told()), SECONDS)
    assert sorted(rule["name"] for rule in told()) == sorted(RULES)


def test_no_call_of_the_load_fails(stack):
    _, done = stack
    assert done.errors == {}
    assert done.calls["training"] > 10


def test_check_of_envoys_health_in_the_container_works(ports):
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    command = compose["envoy"]["healthcheck"]["test"][1:]

    def asks(port: int) -> int:
        code: int = run([word.replace("9901", str(port)) for word in command], capture_output=True).returncode
        return code

    assert asks(ports["envoy", 9901][0]) == 0
    assert asks(ports["prometheus", 9090][0]) != 0


def test_published_ports_are_read():
    assert services()["server"].published == {9464: range(9464, 9474)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, []), (signal.SIGINT, ["--no-demo"]), (signal.SIGHUP, ["--no-demo"])]
)
def test_stack_ends_in_order(number, options):
    """A terminal signals all processes of the command, and not the first one alone."""
    command = [sys.executable, "-m", "deploy.stack", "--any-ports", *options]
    with started(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        said = ""
        while "Grafana" not in said:
            line = present(process.stdout).readline()
            assert line, present(process.stderr).read()
            said += line
        os.killpg(process.pid, number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "answered" in rest
    ends = [word.strip("/) '") for word in said.replace("│", " ").split() if HOST in word]
    assert len(ends) == 5
    for end in ends:
        address = end.partition("//")[2] or end.rpartition("'")[2]
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://{address}/", timeout=5)


@pytest.mark.slow
def test_demo_trains_through_the_proxy(ports):
    target = f"{HOST}:{ports['envoy', 50051][0]}"
    done = run([sys.executable, ROOT / "examples/digits.py", "--target", target, "--epochs", "2"], capture_output=True)
    assert done.returncode == 0
    assert b"their difference" in done.stdout
