import datetime
import logging
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from losswire_server import Settings
from losswire_server.rpc.security.certificates import Certificates
from losswire_server.settings.reading import WrongSettingsError
from tests.helpers import serving
from tests.server.rpc.security.callers import presented
from tests.server.secured import HOST, write_certificate, write_client_ca

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def settings(files: Any) -> Settings:
    return Settings(**files)


def write_self_signed(folder: Path, key: Any, form: Any = PKCS8, password: bytes | None = None, days: int = 1) -> Any:
    """A certificate of a key, which begins yesterday or in some days."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - days * DAY).not_valid_after(NOW + 10 * DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate, private = folder / "one.crt", folder / "one.key"
    certificate.write_bytes(builder.sign(key, digest).public_bytes(PEM))
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private.write_bytes(key.private_bytes(PEM, form, hidden))
    return {"tls_certificate": certificate, "tls_private_key": private}


@pytest.mark.parametrize(
    ("key", "form"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), PKCS8),
        (lambda: ec.generate_private_key(ec.SECP384R1()), serialization.PrivateFormat.TraditionalOpenSSL),
        (lambda: rsa.generate_private_key(65537, 2048), PKCS8),
        (lambda: rsa.generate_private_key(65537, 2048), serialization.PrivateFormat.TraditionalOpenSSL),
    ],
    ids=["P-256", "P-384 in SEC1", "RSA", "RSA in PKCS1"],
)
def test_usual_keys_are_served(key, form, tmp_path):
    with serving(**write_self_signed(tmp_path, key(), form)) as server:
        assert presented(server)


def test_key_that_grpc_cannot_serve_is_refused(tmp_path):
    files = write_self_signed(tmp_path, ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(WrongSettingsError, match=r"^tls_private_key: expected an RSA or ECDSA key, got Ed25519"):
        Certificates(settings(files))


def test_key_with_a_passphrase_is_refused(tmp_path):
    files = write_self_signed(tmp_path, ec.generate_private_key(ec.SECP256R1()), password=b"secret")
    with pytest.raises(WrongSettingsError, match=r"^tls_private_key: expected a key without a passphrase, got one"):
        Certificates(settings(files))


def test_certificate_of_the_future_is_refused(tmp_path):
    files = write_self_signed(tmp_path, ec.generate_private_key(ec.SECP256R1()), days=-2)
    with pytest.raises(WrongSettingsError, match=r"^tls_certificate: expected one that is valid, got one that is not"):
        Certificates(settings(files))


@pytest.mark.parametrize(
    ("setting", "content", "said"),
    [
        ("tls_certificate", b"", "tls_certificate: expected certificates in PEM, got something else"),
        ("tls_certificate", b"\0" * 99, "tls_certificate: expected certificates in PEM"),
        ("tls_private_key", b"", "tls_private_key: expected a private key in PEM, got something else"),
        (
            "tls_private_key",
            None,
            "tls_private_key: expected a file that can be read, got '.*server.key': No such file",
        ),
        ("tls_client_ca", b"none", "tls_client_ca: expected certificates in PEM"),
        ("tls_client_ca", None, "tls_client_ca: expected a file that can be read, got '.*client-ca.crt': No such"),
    ],
)
def test_wrong_file_names_its_setting(setting, content, said, tmp_path):
    authority = trustme.CA()
    files = write_certificate(tmp_path, authority) | write_client_ca(tmp_path, authority)
    files[setting].unlink()
    if content is not None:
        files[setting].write_bytes(content)
    with pytest.raises(WrongSettingsError, match=f"^{said}"):
        Certificates(settings(files))


def test_key_of_another_certificate_is_refused(tmp_path):
    files = write_certificate(tmp_path, trustme.CA())
    files["tls_private_key"].write_bytes(trustme.CA().issue_cert(HOST).private_key_pem.bytes())
    with pytest.raises(WrongSettingsError, match=r"^tls_private_key: expected the key of tls_certificate, got another"):
        Certificates(settings(files))


def test_expiry_is_that_of_the_whole_chain(tmp_path):
    intermediate = trustme.CA().create_child_ca()
    files = write_certificate(tmp_path, intermediate, not_after=datetime.datetime(4000, 1, 1, tzinfo=datetime.UTC))
    assert files["tls_certificate"].read_bytes().count(b"BEGIN CERTIFICATE") == 2
    assert Certificates(settings(files)).expires == datetime.datetime(3000, 1, 1, tzinfo=datetime.UTC).timestamp()


def test_log_has_no_key(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    files = write_certificate(tmp_path, trustme.CA())
    certificates = Certificates(settings(files))
    files["tls_private_key"].write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    certificates._rotating._next = 0
    assert certificates.expires
    assert "c2VjcmV0" not in str([record.__dict__ for record in caplog.records])
    assert len(caplog.records) == 1
