import socket
from ipaddress import ip_address

import pytest

from losswire_server import Settings
from losswire_server.process import exposure
from losswire_server.process.exposure import check_exposure, is_exposed, missing_protection
from losswire_server.settings.reading import WrongSettingsError

TLS = {"tls_certificate": "c", "tls_private_key": "k"}
TOKENS = {"tokens": "t"}
CALLERS = {"tls_client_ca": "a"}
EXPOSED = ["0.0.0.0", "::", "[::]", "192.0.2.1", "203.0.113.1", "2001:db8::1"]
LOCAL = ["127.0.0.1", "127.1", "localhost", "::1", "[::1]"]


def resolving(host: str) -> str:
    """The host, or a skip where this machine has no IPv6."""
    try:
        is_exposed(Settings(host=host))
    except ValueError:
        pytest.skip("this machine has no IPv6")
    return host


@pytest.mark.parametrize("host", EXPOSED)
@pytest.mark.parametrize(
    ("protection", "said"),
    [
        (
            {},
            "expected TLS and known callers where .* set tls_certificate and tls_private_key, tokens or tls_client_ca",
        ),
        (TLS, "expected known callers where .* set tokens or tls_client_ca, or --insecure"),
        (TOKENS, "expected TLS where .* set tls_certificate and tls_private_key, or --insecure"),
    ],
    ids=["nothing", "tls", "tokens"],
)
def test_open_server_beyond_this_machine_is_refused(host, protection, said):
    with pytest.raises(WrongSettingsError, match=f"^host: {said}.* plain text$") as refused:
        check_exposure(Settings(host=resolving(host), **protection))
    assert repr(host) in str(refused.value)
    check_exposure(Settings(host=host, insecure=True, **protection))


@pytest.mark.parametrize("host", EXPOSED)
@pytest.mark.parametrize("protection", [TLS | TOKENS, TLS | CALLERS, TLS | CALLERS | TOKENS])
def test_protected_server_is_served_anywhere(host, protection):
    settings = Settings(host=resolving(host), **protection)
    check_exposure(settings)
    assert is_exposed(settings)
    assert missing_protection(settings) == {}


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_needs_no_protection(host):
    settings = Settings(host=resolving(host))
    check_exposure(settings)
    assert not is_exposed(settings)


def test_name_with_one_foreign_address_is_exposed(monkeypatch):
    found = [(socket.AF_INET, 1, 6, "", (address, 1)) for address in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert is_exposed(Settings(host="two-addresses"))


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:4860:4860::8888"])
def test_metrics_for_the_internet_are_refused(host):
    resolving(host)
    with pytest.raises(WrongSettingsError, match=r"^metrics_host: expected an address that the Internet cannot reach"):
        check_exposure(Settings(metrics_host=host))
    check_exposure(Settings(metrics_host=host, metrics=False))
    check_exposure(Settings(metrics_host=host, insecure=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "172.17.0.2", "192.168.1.1", "100.64.0.1", "fd00::1"])
def test_metrics_on_private_addresses_are_served(host):
    check_exposure(Settings(metrics_host=resolving(host)))


@pytest.mark.parametrize(("own", "refused"), [("10.0.0.1", False), ("8.8.4.4", True)])
def test_metrics_on_all_addresses_depend_on_this_machines(own, refused, monkeypatch):
    monkeypatch.setattr(exposure, "_outward", lambda: [ip_address(own)])
    settings = Settings(metrics_host="0.0.0.0")
    if refused:
        with pytest.raises(WrongSettingsError, match=r"got '0\.0\.0\.0'"):
            check_exposure(settings)
    else:
        check_exposure(settings)


def test_own_addresses_are_found_without_sending():
    for own in exposure._outward():
        assert not own.is_unspecified
