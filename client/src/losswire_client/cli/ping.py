"""``losswire ping``: whether a server answers, which server it is, and how fast it answers."""

import statistics
from dataclasses import asdict
from typing import Annotated

from typer import Option

from losswire_client.cli import _units
from losswire_client.cli._connection import Connection
from losswire_client.cli._output import stdout, write_json


def ping(
    connection: Connection,
    count: Annotated[int, Option(min=1, help="Round trips to take the median of.")] = 5,
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say whether a server answers: its version, its device, and the round trip from here."""
    with connection.client(retry=None) as client:
        served = client.capabilities()  # it connects, so that no round trip includes that
        median = statistics.median(client.ping() for _ in range(count))
    if json:
        write_json({"target": client.target, "round_trip_seconds": median, "count": count, **asdict(served)})
        return
    device = f"{served.device} ({served.device_name})" if served.device_name else served.device
    server = f"losswire {served.version} on {device}, torch {served.torch_version}"
    took = f"round trip {_units.seconds(median)} (median of {count})"
    stdout().print(f"{client.target}: {server}, {took}", soft_wrap=True)
