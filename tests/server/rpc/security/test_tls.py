"""Servers that encrypt, and SDKs that fit them, over real connections."""

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest
import trustme

from losswire_client import TLS
from losswire_server import Server, Settings
from losswire_server.settings.reading import WrongSettingsError
from tests.client.wires.certificates import write
from tests.helpers import serving
from tests.server.rpc.security.callers import LOGITS, TARGET, client, evaluates, metric, presented
from tests.server.secured import HOST, replace, write_certificate, write_client_ca

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
LATER = datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)


def test_callers_trust_the_right_server_alone(tmp_path, authority, tls):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with serving(**write_certificate(tmp_path, authority)) as server:
        assert evaluates(server, TLS(ca=tls.ca))
        assert not evaluates(server, TLS(ca=write(stranger, trustme.CA(), "x").ca))  # another authority
        assert not evaluates(server, TLS(ca=tls.ca, server_name="other.example"))  # another name
        assert not evaluates(server)  # plain text
        assert evaluates(server, TLS(ca=tls.ca))


def test_every_transport_is_encrypted(tmp_path, authority, tls):
    with serving(**write_certificate(tmp_path, authority)) as server:
        for transport in ("unary", "stream", "shared_memory"):
            assert evaluates(server, TLS(ca=tls.ca), transport=transport)


def test_expired_certificate_is_refused_at_the_start(tmp_path, authority):
    files: Any = write_certificate(tmp_path, authority, not_after=LONG_AGO)
    with pytest.raises(WrongSettingsError, match="tls_certificate: expected one that is valid, got one that expired"):
        Server(Settings(port=0, metrics_port=0, **files))


def test_rotated_certificate_is_for_new_connections(tmp_path, authority, tls):
    files = write_certificate(tmp_path, authority)
    with serving(**files) as server, client(server, TLS(ca=tls.ca)) as old:
        assert old.cross_entropy(LOGITS, TARGET).row_count == 1
        before, expiry = presented(server), metric(server, "losswire_certificate_expiry_timestamp_seconds")
        write_certificate(tmp_path, authority, not_after=LATER)
        assert presented(server) != before
        assert metric(server, "losswire_certificate_expiry_timestamp_seconds") == LATER.timestamp() != expiry
        assert old.cross_entropy(LOGITS, TARGET).row_count == 1
        assert evaluates(server, TLS(ca=tls.ca))


def test_expiry_is_shown_without_new_connections(tmp_path, authority):
    with serving(**write_certificate(tmp_path, authority)) as server:
        write_certificate(tmp_path, authority, not_after=LATER)
        assert metric(server, "losswire_certificate_expiry_timestamp_seconds") == LATER.timestamp()


@pytest.mark.parametrize("wrong", ["half", "pair", "expired", "gone"])
def test_wrong_new_certificate_keeps_the_old_one(wrong, tmp_path, authority, tls, caplog):
    files = write_certificate(tmp_path, authority)
    with serving(**files) as server:
        before = presented(server)
        {
            "half": lambda: replace(files["tls_certificate"], files["tls_certificate"].read_bytes()[:200]),
            "pair": lambda: replace(files["tls_private_key"], trustme.CA().issue_cert(HOST).private_key_pem.bytes()),
            "expired": lambda: write_certificate(tmp_path, authority, not_after=LONG_AGO),
            "gone": lambda: files["tls_private_key"].unlink(),
        }[wrong]()
        for _ in range(3):
            assert presented(server) == before
            assert evaluates(server, TLS(ca=tls.ca))
        assert metric(server, "losswire_failed_reloads_total", file="tls_certificate") == 1
        warnings = [record.setting for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == ["tls_certificate"]
        write_certificate(tmp_path, authority)
        assert presented(server) != before


def test_callers_without_a_certificate_reach_nothing(tmp_path, authority, tls):
    folder = tmp_path / "stranger"
    folder.mkdir()
    stranger = write(folder, trustme.CA(), "stranger.example")
    settings = write_certificate(tmp_path, authority) | write_client_ca(tmp_path, authority)
    with serving(**settings) as server:
        assert evaluates(server, tls)
        assert not evaluates(server, TLS(ca=tls.ca))
        assert not evaluates(server, TLS(ca=tls.ca, cert=stranger.cert, key=stranger.key))


def test_rotated_authority_is_for_new_connections(tmp_path, authority, tls):
    settings = write_certificate(tmp_path, authority) | write_client_ca(tmp_path, authority)
    with serving(**settings) as server, client(server, tls) as old:
        assert old.cross_entropy(LOGITS, TARGET).row_count == 1
        assert evaluates(server, tls)
        write_client_ca(tmp_path, trustme.CA())
        assert old.cross_entropy(LOGITS, TARGET).row_count == 1
        assert not evaluates(server, tls)


def test_callers_rotate_their_certificate_while_they_run(tmp_path, authority, tls):
    new = trustme.CA()
    settings = write_certificate(tmp_path, authority) | write_client_ca(tmp_path, authority)
    with serving(**settings) as server, client(server, tls) as running:
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
        write_client_ca(tmp_path, new)
        write_certificate(tmp_path, new)
        write(Path(str(tls.ca)).parent, new, "caller.example")
        assert running.cross_entropy(LOGITS, TARGET).row_count == 1
