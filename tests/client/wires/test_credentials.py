"""Certificates and tokens: how callers and servers authenticate to each other."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from losswire_client import (
    TLS,
    Client,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
)
from losswire_client._wires import files
from tests.client.wires.certificates import server_credentials, write
from tests.client.wires.grpc_servers import answering
from tests.helpers import eventually

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0]], np.float32), [1]
LARGE = np.zeros((300, 1000), np.float32), np.zeros(300, np.int64)


def test_server_is_known_by_its_certificate(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("localhost:0", server_credentials(authority, "localhost")) as server:
        with Client(server.target, tls=TLS(ca=tls.ca)) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
            assert client.cross_entropy(*LARGE, grad=True).row_count == 300
        for stranger in (True, TLS(ca=write(tmp_path, trustme.CA(), "caller").ca), False):
            with Client(server.target, tls=stranger, retry=None) as client, pytest.raises(UnavailableError):
                client.cross_entropy(LOGITS, TARGET)


def test_certificate_name_may_differ(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("127.0.0.1:0", server_credentials(authority, "losses.example")) as server:
        with Client(server.target, tls=TLS(ca=tls.ca, server_name="losses.example")) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        with Client(server.target, tls=TLS(ca=tls.ca), retry=None) as client, pytest.raises(UnavailableError):
            client.ping()


def test_several_targets_have_the_first_name(authority, tmp_path):
    tls, credentials = write(tmp_path, authority, "caller"), server_credentials(authority, "localhost")
    with (
        answering("localhost:0", credentials) as one,
        answering("localhost:0", credentials) as other,
        Client([one.target, other.target], tls=TLS(ca=tls.ca)) as client,
    ):
        eventually(lambda: all([client.cross_entropy(LOGITS, TARGET).row_count, one.methods, other.methods]))


def test_caller_is_known_by_its_certificate(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("localhost:0", server_credentials(authority, "localhost", asks=True)) as server:
        with Client(server.target, tls=tls) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        with Client(server.target, tls=TLS(ca=tls.ca), retry=None) as client, pytest.raises(UnavailableError):
            client.ping()


def test_replaced_certificates_are_taken(authority, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHECK_SECONDS", 0)
    tls = write(tmp_path, trustme.CA(), "caller")  # this server and this caller do not trust each other
    with (
        answering("localhost:0", server_credentials(authority, "localhost", asks=True)) as server,
        Client(server.target, tls=tls, retry=None) as client,
    ):
        with pytest.raises(UnavailableError):
            client.ping()
        write(tmp_path, authority, "caller")
        eventually(lambda: answers(client))
        (tmp_path / "key.pem").unlink()  # as between two versions
        assert answers(client)
        write(tmp_path, trustme.CA(), "caller")
        eventually(lambda: not answers(client))


def answers(client: Client) -> bool:
    try:
        return client.cross_entropy(LOGITS, TARGET).row_count == 1
    except UnavailableError:
        return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tls": TLS(ca="no/such.pem")},
            r"tls\.ca: expected a file that can be read, got 'no/such\.pem': .*No such file",
        ),
        ({"tls": "yes"}, "tls: expected"),
        ({"token": Path("no/such")}, "token: expected a file that can be read, got 'no/such'"),
        ({"token": "a b"}, "token: expected a text of .*, got one with spaces"),
        ({"token": "a\x07"}, "token: expected a text of .*, got one with spaces or control characters"),
        ({"token": "a\nb"}, "token: expected a text of .*, got 2 lines"),
        ({"token": "\u00e9"}, "token: expected a text of .*, got others than ASCII"),
        ({"token": ""}, "token: expected a text of .*, got none"),
        ({"token": "x" * 5000}, "token: expected a text of 1 to 4096 .*, got 5000 characters"),
        ({"token": "secret", "target": "losses.example:1"}, "token: expected tls too"),
    ],
)
def test_wrong_credentials_are_named(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Client(**{"target": "localhost:1", **options})


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"\n", "none"), (b"one\ntwo", "2 lines"), (b"\xff\xfe", "others than ASCII")],
    ids=["empty", "two lines", "binary"],
)
def test_file_without_a_token_is_named(content, problem, tmp_path):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=f"token: expected .* in the file '{file}', got {problem}"):
        Client("localhost:1", token=file)
    with pytest.raises(InvalidArgumentError, match=f"token: expected a file that can be read, got '{tmp_path}'"):
        Client("localhost:1", token=tmp_path)


@pytest.mark.parametrize(
    ("argument", "files", "problem"),
    [
        ("ca", {"ca": "empty"}, "certificates in PEM, got '.*empty', which has none or a broken one"),
        ("ca", {"ca": "junk"}, "certificates in PEM"),
        ("ca", {"ca": "key.pem"}, "certificates in PEM"),
        ("ca", {"ca": "."}, "can be read, got .*Is a directory"),
        ("cert", {"cert": "key.pem", "key": "cert.pem"}, "certificates in PEM, got '.*key.pem'"),
        ("cert", {"cert": "junk", "key": "key.pem"}, "certificates in PEM, got '.*junk'"),
        ("key", {"cert": "cert.pem", "key": "junk"}, "a private key in PEM without a password, got '.*junk'"),
        ("key", {"cert": "cert.pem", "key": "locked.pem"}, "a private key in PEM without a password"),
        ("key", {"cert": "cert.pem", "key": "other/key.pem"}, "the private key of tls.cert, .* of another certificate"),
    ],
)
def test_file_with_something_else_is_named(argument, files, problem, authority, tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", authority, "another")
    key = Path(str(write(tmp_path, authority, "caller").key)).read_bytes()
    (tmp_path / "junk").write_text("hello")
    (tmp_path / "empty").touch()
    (tmp_path / "locked.pem").write_bytes(locked(key))
    tls = TLS(**{name: tmp_path / file for name, file in files.items()})
    with pytest.raises(InvalidArgumentError, match=rf"tls\.{argument}: expected .*{problem}") as raised:
        Client("localhost:1", tls=tls)
    assert raised.value.argument == f"tls.{argument}"


def locked(key: bytes) -> bytes:
    """A private key that needs a password."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )


def test_unreachable_server_is_told_by_its_reason(authority, tmp_path):
    (tmp_path / "other").mkdir()
    ca, stranger = write(tmp_path, authority, "caller").ca, write(tmp_path / "other", trustme.CA(), "caller").ca
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with (
        answering("127.0.0.1:0", server_credentials(authority, "127.0.0.1")) as server,
        answering("127.0.0.1:0", server_credentials(authority, "other.example")) as other,
        answering("127.0.0.1:0", server_credentials(authority, "127.0.0.1", not_after=yesterday)) as expired,
        answering("127.0.0.1:0", server_credentials(authority, "127.0.0.1", asks=True)) as asking,
        answering("127.0.0.1:0") as plain,
    ):
        for target, tls, said in (
            (server.target, TLS(ca=stranger), r"not of an authority that this client trusts: see tls\.ca"),
            (server.target, None, "as if it wanted tls"),
            (other.target, TLS(ca=ca), r"for another name than that of the target: see tls\.server_name"),
            (expired.target, TLS(ca=ca), "certificate has expired"),
            (asking.target, TLS(ca=ca), r"or a certificate of the client's \(tls\.cert\)"),
            (plain.target, TLS(ca=ca), "does not encrypt, and the client's tls is on"),
        ):
            with Client(target, tls=tls, retry=None) as client, pytest.raises(UnavailableError, match=said):
                client.ping()


def test_certificate_needs_its_key():
    with pytest.raises(InvalidArgumentError, match=r"tls\.key: expected a file, since tls\.cert is given; got None"):
        TLS(cert="cert.pem")


def test_token_goes_with_every_call(authority, tmp_path):
    tls = TLS(ca=write(tmp_path, authority, "caller").ca)
    with answering("localhost:0", server_credentials(authority, "localhost")) as server:
        with Client(server.target, tls=tls, token="secret", transport="stream") as client:
            client.cross_entropy(LOGITS, TARGET)
        with Client(server.target, tls=tls, token="secret") as client:
            client.cross_entropy(LOGITS, TARGET)
        assert server.methods == ["GetCapabilities", "EvaluateStream", "Evaluate"]
        assert server.tokens == ["Bearer secret"] * 3


def test_replaced_token_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHECK_SECONDS", 0)
    file = tmp_path / "token"
    file.write_text("first\n")
    with answering() as server, Client(server.target, token=file) as client:
        for text in ("first\n", "second\n", ""):
            file.write_text(text)
            os.utime(file, ns=(len(server.tokens), len(server.tokens)))  # a quick test might not change the time
            client.cross_entropy(LOGITS, TARGET)
    assert server.tokens == ["Bearer first", "Bearer second", "Bearer second"]


def test_refused_token_is_an_error_of_its_own():
    with answering() as server, Client(server.target, token="wrong") as client:
        server.refusals.append((grpc.StatusCode.UNAUTHENTICATED, "who is that?", ()))
        with pytest.raises(UnauthenticatedError, match="who is that"):
            client.cross_entropy(LOGITS, TARGET)
