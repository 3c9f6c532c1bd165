"""Who can reach the addresses of the settings, and whether that is safe."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from losswire_server.process.listening import Address
from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError

IP = IPv4Address | IPv6Address
FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # for documents: nobody has them
DISCARD_PORT = 9


def check_exposure(settings: Settings) -> None:
    """Refuses to serve other machines in plain text, or whoever calls, and to tell the Internet the metrics.

    Raises:
        WrongSettingsError: That would be so, and the settings do not say that it may.
        AddressError: A host has no address.
    """
    if settings.insecure:
        return
    if missing := missing_protection(settings):
        raise WrongSettingsError(
            f"host: expected {' and '.join(missing)} where other machines can call, got {settings.host!r} without: "
            f"set {', '.join(missing.values())}, or --insecure to serve anybody in plain text"
        )
    metrics = Address(settings.metrics_host, settings.metrics_port, "metrics_host", "metrics_port")
    if settings.metrics and any(map(_is_public, _addresses(metrics))):
        raise WrongSettingsError(
            f"metrics_host: expected an address that the Internet cannot reach, got {settings.metrics_host!r}: "
            "choose a private one, or --no-metrics, or --insecure to tell anybody"
        )


def is_exposed(settings: Settings) -> bool:
    """Whether other machines can reach the service."""
    return not all(ip.is_loopback for ip in _addresses(Address(settings.host, settings.port, "host", "port")))


def missing_protection(settings: Settings) -> dict[str, str]:
    """What the service lacks to be reached by other machines, and the settings that give it; empty if none can."""
    missing = {}
    if not settings.has_tls:
        missing["TLS"] = "tls_certificate and tls_private_key"
    if not settings.knows_callers:
        missing["known callers"] = "tokens or tls_client_ca"
    return missing if missing and is_exposed(settings) else {}


def _addresses(address: Address) -> list[IP]:
    return [ip_address(str(found[0]).partition("%")[0]) for _, found in address.resolve()]


def _is_public(ip: IP) -> bool:
    """Whether the Internet may reach an address; for a wildcard, whether it may reach one of ours."""
    return any(own.is_global for own in _outward()) if ip.is_unspecified else ip.is_global


def _outward() -> list[IP]:
    """The addresses that this machine has towards the Internet. Nothing is sent to find out."""
    found = []
    for family, far_away in FAR_AWAY.items():
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far_away, DISCARD_PORT))
                found.append(ip_address(probe.getsockname()[0]))
        except OSError:  # no such network
            continue
    return found
