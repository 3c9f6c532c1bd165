"""The options that say which server to talk to, and how: one spelling for all commands."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from losswire_client import Client, InvalidArgumentError
from losswire_client._deadline import DEFAULT_TIMEOUT
from losswire_client.cli._failures import CommandError, ExitCode

option = functools.partial(Option, rich_help_panel="Connection")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the server is, and who is calling. Each field is an option."""

    target: Annotated[str, option(envvar="LOSSWIRE_TARGET", help="Address of the server.")] = "localhost:50051"
    timeout: Annotated[float, option(help="Seconds that one call may take.")] = DEFAULT_TIMEOUT
    token: Annotated[
        str | None,
        option(
            envvar="LOSSWIRE_TOKEN",
            help="Token to show the server. Others see it in the list of processes: prefer the variable or a file.",
        ),
    ] = None
    token_file: Annotated[Path | None, option(envvar="LOSSWIRE_TOKEN_FILE", help="File with the token.")] = None
    tls: Annotated[bool, option("--tls", envvar="LOSSWIRE_TLS", help="Encrypt the connection.")] = False
    ca: Annotated[Path | None, option(envvar="LOSSWIRE_CA", help="PEM file of whom to trust. Implies --tls.")] = None
    cert: Annotated[
        Path | None, option(envvar="LOSSWIRE_CERT", help="PEM file of your certificate. Implies --tls.")
    ] = None
    key: Annotated[Path | None, option(envvar="LOSSWIRE_KEY", help="PEM file of its private key.")] = None

    def client(self, transport: str = "auto") -> Client:
        """A client of that server."""
        if self.token or self.token_file or self.tls or self.ca or self.cert or self.key:
            raise CommandError("this version of the SDK has neither tokens nor TLS", ExitCode.USAGE)
        try:
            return Client(self.target, timeout=self.timeout, transport=transport)
        except InvalidArgumentError as error:
            raise CommandError(str(error), ExitCode.USAGE) from error


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which takes the fields of `Connection` in place of its parameter ``connection``."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "connection"]
    options = inspect.signature(Connection).parameters

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        connection = Connection(**{field.name: arguments.pop(field.name) for field in fields(Connection)})
        command(connection=connection, **arguments)

    run.__signature__ = signature.replace(parameters=[*own, *options.values()])  # type: ignore[attr-defined]
    return run
