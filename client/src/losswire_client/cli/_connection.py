"""The options that say which server to talk to, and how. They are the same for all commands."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from typer import BadParameter, Option

from losswire_client import TLS, Client, InvalidArgumentError, Retry
from losswire_client._environment import tls_given
from losswire_client.cli._failures import CommandError, ExitCode
from losswire_client.cli._time_limit import LimitedClient

option = functools.partial(Option, rich_help_panel="Connection")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the server is, and who is calling. Each field is an option. `Client` finds missing values itself."""

    target: Annotated[
        str | None, option(help="Address of the server, or several by commas. LOSSWIRE_TARGET, or localhost:50051.")
    ] = None
    timeout: Annotated[float | None, option(help="Seconds that one call may take. LOSSWIRE_TIMEOUT, or 60.")] = None
    token: Annotated[
        str | None,
        option(help="Token that the server knows you by. Other users see it in ps: prefer LOSSWIRE_TOKEN or a file."),
    ] = None
    token_file: Annotated[Path | None, option(help="File with the token. LOSSWIRE_TOKEN_FILE.")] = None
    tls: Annotated[bool, option("--tls", help="Encrypt the connection. LOSSWIRE_TLS.")] = False
    ca: Annotated[Path | None, option(help="PEM file of the authorities to trust. Implies --tls. LOSSWIRE_TLS_CA.")] = (
        None
    )
    cert: Annotated[Path | None, option(help="PEM file of your certificate. Implies --tls. LOSSWIRE_TLS_CERT.")] = None
    key: Annotated[Path | None, option(help="PEM file of its private key. LOSSWIRE_TLS_KEY.")] = None

    server_name: Annotated[
        str | None,
        option(help="Name in the server's certificate, if not the target's. Implies --tls. LOSSWIRE_TLS_SERVER_NAME."),
    ] = None

    def client(self, transport: str | None = None, retry: Retry | None = Retry()) -> Client:  # noqa: B008 - it is frozen
        """A client of that server."""
        if self.token is not None and self.token_file is not None:
            raise CommandError("--token: expected it or --token-file, got both", ExitCode.USAGE)
        try:
            return LimitedClient(
                self.target,
                timeout=self.timeout,
                transport=transport,
                token=self.token if self.token_file is None else self.token_file,
                tls=self._tls(),
                retry=retry,
            )
        except InvalidArgumentError as error:
            raise CommandError(str(error), ExitCode.USAGE) from error

    def lasting_client(self) -> Client:
        """A client for a command that goes on while the server is away, but that needs one to begin with."""
        with self.client(retry=None) as client:
            client.ping()
        return self.client()

    def _tls(self) -> bool | TLS | None:
        options = {name: getattr(self, name) for name in ("ca", "cert", "key", "server_name")}
        told = {name: value for name, value in options.items() if value is not None}
        if told:
            return TLS(**{**tls_given(), **told})
        return True if self.tls else None


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of `Connection` as options in place of its parameter ``connection``."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "connection"]
    options = inspect.signature(Connection).parameters

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        _refuse_empty(arguments, signature)
        connection = Connection(**{field.name: arguments.pop(field.name) for field in fields(Connection)})
        command(connection=connection, **arguments)

    run.__signature__ = signature.replace(parameters=[*own, *options.values()])  # type: ignore[attr-defined]
    return run


def _refuse_empty(arguments: dict[str, Any], signature: inspect.Signature) -> None:
    """Refuses texts that are given and empty, as by variables of a shell that are not set: they would mean nothing."""
    for name, value in arguments.items():
        if value == "" and name in signature.parameters and signature.parameters[name].default is None:
            raise BadParameter("expected a text, got none", param_hint=f"--{name.replace('_', '-')}")
