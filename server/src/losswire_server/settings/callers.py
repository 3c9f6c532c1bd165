"""How much one caller may take. A caller is a token's name, or without tokens a connection."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from losswire_server.settings.types import Group, Rate, Whole, no_bool

Share = Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1, allow_inf_nan=False)]


class Callers(Group):
    """How much one caller may take."""

    caller_share: Share = 0.75
    """The part of max_inflight_bytes, of shared_memory_bytes, and of the 8 heads on their way, that one caller may
    take."""

    caller_requests: Whole = Field(1024, ge=1, lt=2**31)
    """The most calls that one caller may have under way at a time."""

    caller_streams: Whole = Field(32, ge=1, lt=2**31)
    """The most of these calls that may be streams."""

    caller_leases: Whole = Field(256, ge=1, lt=2**31)
    """The most regions of shared memory that one caller may lease at a time."""

    caller_requests_per_second: Rate = 0
    """The most calls that one caller may begin in a second, on average over a few; 0 for any number."""

    caller_bytes_per_second: Rate = 0
    """The most bytes of messages that one caller may send in a second, on average over a few; 0 for any number. Beyond
    that new calls are refused, and streams are not read."""
