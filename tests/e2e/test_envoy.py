"""TLS, tokens and JSON as deploy/envoy and docs/contract.md have them: a real Envoy in front of a real server."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from losswire_client import TLS, Client, PermissionDeniedError, UnauthenticatedError, UnavailableError
from tests.e2e.replicas.proxy import TOKEN, Json, Proxy, envoy, write_descriptors
from tests.helpers import call_of

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0], [2.0, 0.1, 0.3]], np.float32), np.array([1, 0])


@pytest.fixture(scope="module")
def descriptors(server, tmp_path_factory) -> bytes:
    return write_descriptors(server, tmp_path_factory.mktemp("descriptors"))


@pytest.fixture(scope="module")
def proxy(server, descriptors, tmp_path_factory) -> Iterator[Proxy]:
    with envoy([server.port], descriptors, tmp_path_factory.mktemp("envoy")) as running:
        yield running


def tensor(array: npt.NDArray[Any]) -> Json:
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": f"DTYPE_{array.dtype.name.upper()}", "shape": list(array.shape), "data": data}


def request(input: npt.NDArray[Any] = LOGITS, target: npt.NDArray[Any] = TARGET, **changed: Any) -> Json:
    spec = {"crossEntropy": {}, "reduction": "REDUCTION_MEAN"}
    return {"spec": spec, "input": tensor(input), "target": tensor(target), **changed}


def test_sdk_gets_the_same_bits(proxy, client):
    large = np.random.default_rng(0).standard_normal((300, 5000), np.float32), np.zeros(300, np.int64)
    with proxy.client() as through:
        for batch in ((LOGITS, TARGET), large):  # in a message, in a stream
            expected, result = (each.cross_entropy(*batch, grad=True) for each in (client, through))
            assert result.loss == expected.loss
            np.testing.assert_array_equal(result.grad, expected.grad)


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


def test_json_of_an_error_has_its_details(proxy):
    status, body = proxy.post("Evaluate", request(spec={"crossEntropy": {}}))
    error = json.loads(body)
    assert (status, error["code"]) == (400, 3)
    assert error["message"].startswith("spec.reduction: expected one of")
    info, bad_request = error["details"]
    assert (info["domain"], info["reason"]) == ("losswire", "INVALID_REQUEST")
    assert bad_request["fieldViolations"][0]["field"] == "spec.reduction"


def test_json_error_without_types_is_empty(server, descriptors, tmp_path):
    """The descriptor set lacks the types of the error's details."""
    files = FileDescriptorSet.FromString(descriptors).file
    without = FileDescriptorSet(file=[file for file in files if file.name != "google/rpc/error_details.proto"])
    assert len(without.file) == len(files) - 1
    with envoy([server.port], without.SerializeToString(), tmp_path) as proxy:
        assert proxy.post("Evaluate", request(spec={"crossEntropy": {}})) == (400, b"")
