"""The unit of systemd's, read: it waits for the server's end, and does not start it in vain."""

import re

from losswire_server import Settings
from tests.documents import ROOT

UNIT = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "deploy/systemd/losswire-server.service").read_text(), re.MULTILINE))


def test_server_has_time_to_end():
    longest = Settings(drain_seconds=5)
    assert float(UNIT["TimeoutStopSec"]) > longest.drain_seconds + longest.grace_seconds


def test_server_that_cannot_start_is_not_started_again():
    assert (UNIT["Restart"], UNIT["RestartPreventExitStatus"]) == ("on-failure", "2")


def test_server_has_descriptors_for_all_connections():
    assert int(UNIT["LimitNOFILE"]) > Settings().max_connections


def test_runs_may_be_written_where_the_unit_says():
    """And nowhere else: the rest of the system is read-only, and the user is another one after each start."""
    assert (UNIT["ProtectSystem"], UNIT["DynamicUser"]) == ("strict", "yes")
    assert UNIT["StateDirectoryMode"] == "0700"
    (path,) = re.findall(r'runs = "(.*?)"', (ROOT / "deploy/systemd/losswire-server.service").read_text())
    assert path == f"/var/lib/{UNIT['StateDirectory']}/runs.db"
    assert Settings(runs=path).runs == path


def test_flags_are_those_of_settings():
    flags = re.findall(r"--([\w-]+)", UNIT["ExecStart"])
    assert {flag.replace("-", "_") for flag in flags} <= {*Settings.model_fields, "config"}
