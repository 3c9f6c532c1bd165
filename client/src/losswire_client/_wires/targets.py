"""Turns addresses as users write them into addresses as gRPC takes them, in which each host has a port."""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NoReturn

from losswire_client._errors import InvalidArgumentError, invalid_argument, shown

DEFAULT_PORT = 50051  # with TLS too
HTTPS_PORT = 443
SOCKETS = ("unix:", "unix-abstract:", "vsock:", "xds:")  # addresses without host and port
LITERALS = ("ipv4:", "ipv6:")
OF_GRPC = ("dns:", *LITERALS, *SOCKETS)
DNS = re.compile(r"dns:(?://[^/]*/)?")
HOST_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^\[\]:/,@?#\s]+)(?::([0-9]{1,5}))?")


def checked_targets(target: str | Sequence[str]) -> tuple[str, ...]:
    """One gRPC target, or several hosts with ports.

    Raises:
        InvalidArgumentError: The target is not valid.
    """
    given = _split(target) if isinstance(target, str) else target
    if not isinstance(given, Sequence) or not given or not all(_is_text(one) for one in given):
        problem = f"expected an address, as in 'localhost:{DEFAULT_PORT}', or several, got {shown(target)}"
        raise invalid_argument("target", problem)
    targets = [one.strip() for one in given]
    return (_complete(targets[0]),) if len(targets) == 1 else tuple(map(_with_port, targets))


def host_and_port(target: str) -> tuple[str, int]:
    """The host, without brackets, and the port of a target that is a host with or without a port."""
    if _is_ipv6(target):
        return target, DEFAULT_PORT
    found = HOST_AND_PORT.fullmatch(target)
    if found is None or not _is_host(found[1]):
        _refuse(target)
    port = DEFAULT_PORT if found[2] is None else int(found[2])
    if not 0 < port < 2**16:
        raise invalid_argument("target", f"expected a port from 1 to 65535, got {target!r}")
    return found[1].strip("[]"), port


def _split(target: str) -> Sequence[str]:
    for scheme in LITERALS:
        if target.startswith(scheme):
            return target.removeprefix(scheme).split(",")
    return (target,) if "://" in target else target.split(",")


def _is_text(target: object) -> bool:
    return isinstance(target, str) and bool(target.strip()) and target.isprintable()


def _complete(target: str) -> str:
    if target.startswith(SOCKETS):
        return target
    if dns := DNS.match(target):
        return dns[0] + _with_port(target.removeprefix(dns[0]))
    return _with_port(target)


def _with_port(target: str) -> str:
    host, port = host_and_port(target)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_host(host: str) -> bool:
    return _is_ipv6(host[1:-1]) if host.startswith("[") else not host.isdecimal()  # digits are a port alone


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _refuse(target: str) -> NoReturn:
    if "://" in target and not target.startswith(OF_GRPC):
        _refuse_url(target)
    problem = f"expected a host and a port, as in 'localhost:{DEFAULT_PORT}'"
    if target.count(":") > 1:
        problem += f", or '[::1]:{DEFAULT_PORT}' with an address of IPv6 in brackets"
    raise invalid_argument("target", f"{problem}, got {target!r}")


def _refuse_url(target: str) -> NoReturn:
    """Refuses a URL, and says what to write in place of ``http://localhost:50051``."""
    scheme, _, rest = target.partition("://")
    encrypts = scheme.lower() in ("https", "grpcs")
    host = re.split("[/?#]", rest)[0].rpartition("@")[2]
    try:
        address = _with_port(f"{host}:{HTTPS_PORT}" if scheme.lower() == "https" and _has_no_port(host) else host)
    except InvalidArgumentError:
        address = f"localhost:{DEFAULT_PORT}"
    instead = f"{address!r}{' and tls=True' if encrypts else ''}"
    raise invalid_argument("target", f"expected no {scheme}://: write {instead}, got {target!r}")


def _has_no_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 0
