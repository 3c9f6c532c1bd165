"""The image and what runs it, read: digests, hashes, and no more rights than needed."""

import re
import shlex
from fnmatch import fnmatch
from importlib.metadata import requires
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from losswire_server import Settings
from losswire_server.errors import DOMAIN
from tests.documents import ROOT

DIGEST = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
NOBODY = "65534:65534"
POSTGRES = "999:999"  # the image's own, whose the volume is


def loaded(name: str) -> Any:
    return list(yaml.safe_load_all((ROOT / name).read_text().replace("!override", "")))  # a tag of Compose


DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
COMPOSE, TLS, CUDA = (loaded(f"docker-compose{kind}.yml")[0]["services"] for kind in ("", ".tls", ".cuda"))


def instructions(*names: str) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile of these names, each in one line."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    found = [line.partition(" ")[::2] for line in joined.splitlines()]
    return [(name, rest.strip()) for name, rest in found if name in names]


def defaults() -> dict[str, str]:
    return {name: value for name, _, value in (rest.partition("=") for _, rest in instructions("ARG"))}


def expanded(text: str) -> str:
    """A text with the defaults of its build arguments."""
    while "${" in text:
        text = re.sub(r"\$\{(\w+)\}", lambda found: defaults()[found[1]], text)
    return text


def test_every_image_has_a_digest():
    for _, rest in instructions("FROM"):
        assert DIGEST.fullmatch(expanded(rest.partition(" ")[0]))
    assert DIGEST.fullmatch(CUDA["server"]["build"]["args"]["BASE"])
    for service in COMPOSE.values():
        assert "build" in service or DIGEST.fullmatch(service["image"])


def test_digests_are_those_that_make_renews():
    from deploy.lock_images import FILES, PINNED

    written = {name: PINNED.findall((ROOT / name).read_text()) for name in FILES}
    assert [len(found) for found in written.values()] == [1, 4, 1]


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """The packages of a file, and their hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        found.append((Requirement(requirement.strip()), [one.strip() for one in hashes]))
    return found


LOCKS = ("deploy/requirements.txt", "deploy/build-requirements.txt")
CONSTRAINTS = {
    pin.name.lower().replace("_", "-"): str(pin.specifier)
    for pin in (Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#")
}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_its_version_and_hashes(lock):
    assert pins(lock)
    for pin, hashes in pins(lock):
        assert re.fullmatch(r"==[\w.+]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
        assert str(pin.specifier) == CONSTRAINTS.get(pin.name, str(pin.specifier)), "run make lock-packages"


def test_lock_has_all_that_the_server_needs():
    locked, waiting, seen = {pin.name for pin, _ in pins(LOCKS[0])}, ["losswire-server"], set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        needs = map(Requirement, requires(name) or [])
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    ours = {DOMAIN, "losswire-server", "ce-engine"}
    assert seen - ours <= locked, "run make lock-packages"
    assert "torch" in locked


def test_image_installs_nothing_without_a_hash():
    commands = [part.strip() for _, rest in instructions("RUN") for part in rest.split("&&")]
    installs = [command for command in commands if re.match(r"(python3? -m )?pip (install|wheel|download)", command)]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or "--no-index" in command, command


def test_image_has_all_that_it_copies():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for _, rest in instructions("COPY"):
        source = expanded(rest).split()[0]
        assert (ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in kept)


def test_image_runs_as_nobody():
    ((_, user),) = instructions("USER")
    assert user == NOBODY
    after = DOCKERFILE.split("USER ")[1]
    assert not re.search(r"^(RUN|COPY|ADD)", after, re.MULTILINE)
    assert not instructions("ADD")


def test_image_says_no_more_than_settings():
    variables = dict(pair.split("=", 1) for _, rest in instructions("ENV") for pair in rest.split())
    ours = {name.removeprefix("LOSSWIRE_").lower() for name in variables if name.startswith("LOSSWIRE_")}
    assert ours == {"host", "metrics_host", "device"}  # above all, not `insecure`


@pytest.mark.parametrize("name", COMPOSE)
def test_service_has_no_rights_that_it_does_not_need(name):
    service = COMPOSE[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == {"postgres": POSTGRES}.get(name, NOBODY)
    assert "/tmp" in service["tmpfs"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    mounted = [volume for volume in service.get("volumes", []) if volume.startswith((".", "/"))]
    assert all(volume.endswith(":ro") for volume in mounted)


@pytest.mark.parametrize("name", COMPOSE)
def test_service_tells_its_health(name):
    """And it is not given up while it starts: others wait for it."""
    service = COMPOSE[name]
    if "build" in service:
        ((_, check),) = instructions("HEALTHCHECK")
        assert "--start-period=300s" in check
    else:
        assert service["healthcheck"]["test"][0] == "CMD"  # of a program that its image has
        assert service["healthcheck"]["start_period"] == "60s"


def test_insecure_server_is_reached_by_services_alone():
    assert COMPOSE["server"]["environment"]["LOSSWIRE_INSECURE"] == "true"
    assert [port.rpartition(":")[2] for port in COMPOSE["server"]["ports"]] == ["9464"]
    assert "ports" not in TLS["server"]
    assert TLS.keys() == {"server", "postgres", "envoy"}


def test_database_of_runs_is_reached_by_servers_alone():
    assert "ports" not in COMPOSE["postgres"]
    given = (COMPOSE["server"]["environment"]["PGPASSWORD"], COMPOSE["postgres"]["environment"]["POSTGRES_PASSWORD"])
    assert len(set(given)) == 1
    for password in (TLS["server"]["environment"]["PGPASSWORD"], TLS["postgres"]["environment"]["POSTGRES_PASSWORD"]):
        assert password.startswith("${LOSSWIRE_POSTGRES_PASSWORD:?")  # other machines reach Envoy: it has no default


def test_callers_of_other_machines_need_encryption_and_tokens(monkeypatch):
    for name, value in (COMPOSE["server"]["environment"] | TLS["server"]["environment"]).items():
        monkeypatch.setenv(name, value)
    assert Settings().tokens
    assert TLS["envoy"]["ports"] == ["8443:8443"]
    config = shlex.split(TLS["envoy"]["command"])[2]
    (listener,) = loaded(f"deploy{config.removeprefix('/etc')}")[0]["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 8443
    for chain in listener["filter_chains"]:
        assert chain["transport_socket"]["name"] == "envoy.transport_sockets.tls"


def test_grafana_calls_nobody_and_lets_nobody_change():
    given = COMPOSE["grafana"]["environment"]
    on = {name for name, value in given.items() if value == "true"}
    off = {name for name, value in given.items() if value == "false"}
    assert given.keys() - on - off == {"GF_AUTH_ANONYMOUS_ORG_ROLE", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"}
    assert given["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert all(name.split("_")[-1] in ("ENABLED", "UPDATES") for name in off)
    assert on - {"GF_AUTH_ANONYMOUS_ENABLED"} == {name for name in on if "DISABLE" in name}
