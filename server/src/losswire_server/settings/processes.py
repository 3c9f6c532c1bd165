"""How many processes serve."""

from pydantic import Field

from losswire_server.settings.types import Group, WithinProcesses


class Processes(Group):
    """How many processes serve."""

    processes: WithinProcesses = Field(1, ge=1)
    """How many processes serve the port. Limits of memory and of rows that wait are of all of them together."""
