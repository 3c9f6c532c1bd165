"""How much one caller may take."""

from typing import NamedTuple

from losswire_server.settings import Settings


class CallerLimits(NamedTuple):
    """How much one caller may take: what the settings say, or what a token says of its own caller.

    Attributes:
        share: Of the bytes in flight, and of shared memory.
        requests: Calls under way at a time.
        streams: Of these, streams.
        leases: Regions of shared memory at a time.
        requests_per_second: Calls begun; 0 for any number.
        bytes_per_second: Received; 0 for any number.
    """

    share: float
    requests: int
    streams: int
    leases: int
    requests_per_second: float
    bytes_per_second: float

    @classmethod
    def of(cls, settings: Settings) -> "CallerLimits":
        return cls(*(getattr(settings, f"caller_{name}") for name in cls._fields))
