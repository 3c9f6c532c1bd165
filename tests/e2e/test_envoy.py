"""TLS and JSON as deploy/envoy and docs/contract.md have them: a real Envoy in front of a server that knows tokens."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
import trustme
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from deploy.envoy_descriptors import FILE, descriptors
from deploy.stack.configuration import ENVOY
from losswire_client import TLS, Client, PermissionDeniedError, UnauthenticatedError, UnavailableError
from losswire_server import launch
from tests.e2e.replicas.proxy import TOKEN, Json, Proxy, envoy, write_certificate
from tests.helpers import call_of, eventually
from tests.server.secured import write_tokens

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0], [2.0, 0.1, 0.3]], np.float32), np.array([1, 0])


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[int]:
    """The port of a server that knows callers by tokens."""
    tokens = write_tokens(tmp_path_factory.mktemp("tokens"), tests=TOKEN)["tokens"]
    runs = str(tmp_path_factory.mktemp("runs") / "runs.db")
    with launch(tokens=tokens, runs=runs) as server:
        yield int(server.target.rpartition(":")[2])


@pytest.fixture(scope="module")
def proxy(secured, tmp_path_factory) -> Iterator[Proxy]:
    with envoy([secured], tmp_path_factory.mktemp("envoy")) as running:
        yield running


def tensor(array: npt.NDArray[Any]) -> Json:
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": f"DTYPE_{array.dtype.name.upper()}", "shape": list(array.shape), "data": data}


def request(input: npt.NDArray[Any] = LOGITS, target: npt.NDArray[Any] = TARGET, **changed: Any) -> Json:
    spec = {"crossEntropy": {}, "reduction": "REDUCTION_MEAN"}
    return {"spec": spec, "input": tensor(input), "target": tensor(target), **changed}


@pytest.mark.slow
def test_sdk_gets_the_same_bits(proxy, client):
    large = np.random.default_rng(0).standard_normal((300, 5000), np.float32), np.zeros(300, np.int64)
    with proxy.client() as through:
        for batch in ((LOGITS, TARGET), large):  # in a message, in a stream
            expected, result = (each.cross_entropy(*batch, grad=True) for each in (client, through))
            assert result.loss == expected.loss
            np.testing.assert_array_equal(result.grad, expected.grad)


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "sesame-street"])
def test_caller_without_token_gets_health(proxy, token):
    with proxy.client(token) as stranger:
        assert stranger.ping() > 0
        for call in (stranger.capabilities, lambda: stranger.cross_entropy(LOGITS, TARGET)):
            with pytest.raises(UnauthenticatedError, match="token"):
                call()
    assert proxy.post("GetCapabilities", {}, token or "")[0] == 401


def test_caller_without_tls_reaches_nothing(proxy):
    with Client(proxy.target, retry=None) as client, pytest.raises(UnavailableError):
        client.capabilities()


def test_health_of_one_server_cannot_be_watched(proxy):
    """So a caller that would watch it, as one of several servers does, goes on while that server leaves."""
    with grpc.secure_channel(proxy.target, grpc.ssl_channel_credentials(proxy.ca.read_bytes())) as channel:
        stub: Any = HealthStub(channel)
        watching = stub.Watch(HealthCheckRequest(), timeout=20)
        with pytest.raises(grpc.RpcError) as refused:
            next(watching)
        assert call_of(refused.value).code() is grpc.StatusCode.UNIMPLEMENTED
    with Client([proxy.target, proxy.target], tls=TLS(ca=proxy.ca), token=TOKEN, retry=None) as client:
        assert client.cross_entropy(LOGITS, TARGET).row_count == 2


def test_shared_memory_is_refused(proxy):
    with proxy.client() as through, pytest.raises(PermissionDeniedError, match="on the server's machine"):
        through.empty((2, 3))


def test_json_has_integers_as_strings(proxy, client):
    expected = client.cross_entropy(LOGITS, TARGET, grad=True)
    status, body = proxy.post("Evaluate", request(outputs={"gradient": {}}))
    answer = json.loads(body)
    assert status == 200
    assert (answer["rowCount"], answer["ignoredCount"]) == ("2", "0")
    assert (answer["lossSum"], answer["weightSum"]) == (expected.loss_sum, expected.weight_sum)
    assert answer["gradient"] == tensor(expected.grad) | {"shape": ["2", "3"]}


def test_json_drops_unknown_names(proxy):
    status, body = proxy.post("Evaluate", request(gradient={}))
    assert status == 200
    assert "gradient" not in json.loads(body)


def test_json_says_nan_in_a_string(proxy):
    _, body = proxy.post("Evaluate", request(np.array([[np.nan, 0]], np.float32), np.array([0])))
    assert json.loads(body)["lossSum"] == "NaN"


def test_json_of_several_megabytes_passes(proxy):
    large = np.zeros((1000, 1000), np.float32)
    status, body = proxy.post("Evaluate", request(large, np.zeros(1000, np.int64), outputs={"gradient": {}}))
    assert (status, json.loads(body)["gradient"]["shape"]) == (200, ["1000", "1000"])


def test_run_is_made_filled_watched_and_finished_in_json(proxy):
    spec = {"crossEntropy": {}, "reduction": "REDUCTION_MEAN"}

    def ask(method: str, **asked: Any) -> Any:
        status, body = proxy.post(method, asked, service="RunService")
        assert status == 200, body
        return json.loads(body)

    assert ask("CreateRun", name="json", spec=spec, expectedKeyCount="1")["created"]
    assert ask("FindMissingKeys", name="json", keys=["k"])["missing"] == ["k"]
    status, body = proxy.post("Evaluate", request(exact={}, runKey={"run": "json", "key": "k"}))
    assert status == 200, body
    assert ask("FinishRun", name="json")["run"]["totals"]["keyCount"] == "1"
    (seen,) = ask("WatchRun", name="json")  # a stream is a list in JSON
    assert seen["run"]["finishTime"]
    status, body = proxy.post("GetRun", {"name": "other"}, service="RunService")
    assert (status, json.loads(body)["details"][0]["reason"]) == (404, "RUN_NOT_FOUND")


def test_run_is_watched_while_it_is_filled(proxy):
    with proxy.client() as client:
        run = client.run("long", expected_keys=1)
        seen = run.watch(interval=0.1)
        assert next(seen).key_count == 0
        run.cross_entropy(LOGITS, TARGET, key="k")
        run.finish()
        assert [each.is_finished for each in seen][-1]


def test_json_of_an_error_has_its_details(proxy):
    status, body = proxy.post("Evaluate", request(spec={"crossEntropy": {}}))
    error = json.loads(body)
    assert (status, error["code"]) == (400, 3)
    assert error["message"].startswith("spec.reduction: expected one of")
    info, bad_request = error["details"]
    assert (info["domain"], info["reason"]) == ("losswire", "INVALID_REQUEST")
    assert bad_request["fieldViolations"][0]["field"] == "spec.reduction"


def test_json_error_without_types_is_empty(secured, tmp_path, monkeypatch):
    """The descriptor set lacks the types of the error's details."""
    files = descriptors().file
    without = FileDescriptorSet(file=[file for file in files if file.name != "google/rpc/error_details.proto"])
    assert len(without.file) == len(files) - 1
    (tmp_path / "own").mkdir()
    for file in ENVOY.iterdir():
        (tmp_path / "own" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "own/losswire.binpb").write_bytes(without.SerializeToString())
    monkeypatch.setattr("deploy.stack.configuration.ENVOY", tmp_path / "own")
    with envoy([secured], tmp_path) as proxy:
        assert proxy.post("Evaluate", request(spec={"crossEntropy": {}})) == (400, b"")


def test_descriptors_are_those_of_the_contract():
    assert FILE.read_bytes() == descriptors().SerializeToString(deterministic=True), "run make proto"


def test_certificate_is_replaced_while_it_runs(proxy):
    authority = trustme.CA()
    write_certificate(authority, proxy.ca.parent)
    authority.cert_pem.write_to_path(proxy.ca)
    eventually(lambda: is_reached(proxy))


def is_reached(proxy: Proxy) -> bool:
    with proxy.client(retry=None) as client:
        try:
            return client.cross_entropy(LOGITS, TARGET).row_count == 2
        except UnavailableError:
            return False


def test_each_caller_has_its_own_connection_to_the_server(proxy):
    """Each caller's connection has its own to the server, to which it is a caller then."""
    before = proxy.statistic("upstream_cx_total")
    for _ in range(2):
        with proxy.client() as client:
            client.cross_entropy(LOGITS, TARGET)
    assert proxy.statistic("upstream_cx_total") >= before + 2


@pytest.mark.slow
def test_metrics_are_told_to_prometheus(proxy):
    told = urllib.request.urlopen(f"http://127.0.0.1:{proxy.metrics_port}/stats/prometheus", timeout=5).read()
    assert b'envoy_cluster_upstream_rq_total{envoy_cluster_name="losswire"}' in told
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{proxy.metrics_port}/quitquitquit", data=b"", timeout=5)
