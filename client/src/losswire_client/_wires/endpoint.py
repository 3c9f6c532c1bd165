"""Where the servers are, and how to open a channel to them."""

import ipaddress
import json
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from losswire.v1 import head_service_pb2, loss_service_pb2, run_service_pb2
from losswire_client._errors import InvalidArgumentError, invalid_argument
from losswire_client._tracing.active import Metadata
from losswire_client._transports.unary import MAX_MESSAGE_BYTES
from losswire_client._wires.files import Watch
from losswire_client._wires.fork import PROCESS
from losswire_client._wires.targets import checked_targets, host_and_port
from losswire_client._wires.tls import TLS
from losswire_client._wires.token import Token

SERVICE = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
RUN_SERVICE = run_service_pb2.DESCRIPTOR.services_by_name["RunService"].full_name
HEAD_SERVICE = head_service_pb2.DESCRIPTOR.services_by_name["HeadService"].full_name
SPREAD: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},  # a server that is about to leave gets no more calls
}
# The processes of a server share its port, but not their regions: a lease and the calls that use it go together. A name
# such as localhost may have two addresses, and so two connections.
ONE_CONNECTION: dict[str, Any] = {"loadBalancingConfig": [{"pick_first": {}}]}
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),  # any answer in one message, whatever its outputs
    ("grpc.keepalive_time_ms", 30_000),  # notices that a server or the network is gone
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # gRPC's default of two minutes is far longer than a restart takes
)

log = logging.getLogger("losswire_client")


class Endpoint:
    """One server, or several equivalent servers.

    Args:
        target: A gRPC address, as in ``localhost:50051``, ``dns:///losses:50051`` or ``unix:/run/losswire.sock``; or
            several hosts with ports.
        tls: How to encrypt; None for no encryption.
        token: Sent with every call, to servers that are trusted by `tls` or are on this machine.

    Raises:
        InvalidArgumentError: An argument is wrong.
    """

    def __init__(self, target: str | Sequence[str], tls: TLS | None, token: str | os.PathLike[str] | None) -> None:
        self._targets = checked_targets(target)
        self._tls = tls
        self._token = None if token is None else Token(token)
        if token is not None and tls is None and not self.is_local:
            raise invalid_argument(
                "token", "expected tls too: without it, anybody on the way to the server could read the token"
            )
        self._watch = Watch(tls.files if tls else ())
        self._credentials = tls.credentials() if tls else None

    @property
    def name(self) -> str:
        return ", ".join(self._targets)

    @property
    def is_single(self) -> bool:
        return len(self._targets) == 1

    @property
    def is_local(self) -> bool:
        """Whether calls never leave this machine."""
        return all(_is_local(target) for target in self._targets)

    def told(self) -> dict[str, str]:
        """The arguments that a client's text shows, without secrets."""
        told = {} if self._tls is None else {"tls": "True" if self._tls == TLS() else repr(self._tls)}
        return told if self._token is None else {**told, "token": "***"}

    def has_changed(self) -> bool:
        """Whether channels are to be opened anew, because certificates have changed."""
        if self._tls is None or not self._watch.has_changed():
            return False
        try:
            self._credentials = self._tls.credentials()
        except InvalidArgumentError as error:  # perhaps half replaced: use the old ones until they change again
            log.warning("certificates cannot be read: %s", error)
            return False
        return True

    def metadata(self) -> Metadata | None:
        """The metadata of every call: the caller's token."""
        return self._token.metadata() if self._token else None

    def open(self, library: Any, more_options: Sequence[tuple[str, Any]] = ()) -> Any:
        """A channel of ``grpc`` or of ``grpc.aio``."""
        options = [*self._options(), *more_options]
        if self._credentials is None:
            return library.insecure_channel(self._address(), options)
        return library.secure_channel(self._address(), self._credentials, options)

    def _address(self) -> str:
        return self._targets[0] if self.is_single else _static_addresses(self._targets)

    def _options(self) -> list[tuple[str, Any]]:
        balancing = ONE_CONNECTION if self.is_single and self.is_local else SPREAD
        options: list[tuple[str, Any]] = [("grpc.service_config", json.dumps(balancing)), *OPTIONS]
        if self.is_local:
            options.append(("grpc.enable_http_proxy", 0))  # "localhost" means another machine to a proxy
        if PROCESS.is_child:
            options.append(("grpc.use_local_subchannel_pool", 1))  # the global pool has the parent's connections
        if name := self._server_name():
            options += [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
        return options

    def _server_name(self) -> str | None:
        if self._tls is None or self._tls.server_name is not None or self.is_single:
            return self._tls.server_name if self._tls else None
        return host_and_port(self._targets[0])[0]


def _static_addresses(targets: Sequence[str]) -> str:
    """The one gRPC address for several targets. Their names are looked up now."""
    found = [_look_up(*host_and_port(target)) for target in targets]
    versions = {family for family, _ in found}
    if len(versions) > 1:
        raise invalid_argument("target", f"expected either IPv4 or IPv6 addresses, got {', '.join(targets)}")
    scheme = "ipv6" if socket.AF_INET6 in versions else "ipv4"
    return f"{scheme}:{','.join(address for _, address in found)}"


def _look_up(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # Python raises UnicodeError for a label that is too long
        raise invalid_argument(
            "target", f"expected hosts whose names can be resolved, got {host!r}: {error}"
        ) from error
    family, *_, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    return family, f"[{address[0]}]:{port}" if family is socket.AF_INET6 else f"{address[0]}:{port}"


def _is_local(target: str) -> bool:
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.rpartition("/")[2].rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
