"""Who makes a call."""

from collections.abc import Hashable
from typing import NamedTuple

from losswire_server.calls.limits import CallerLimits
from losswire_server.requests.permission import ANYTHING, Permission


class Identity(NamedTuple):
    """Who makes a call, and what that caller may do.

    Attributes:
        name: Whose calls count together: of a token or a certificate, or of a connection.
        limits: How much the caller may take.
        permission: What the caller may ask for.
    """

    name: Hashable
    limits: CallerLimits
    permission: Permission = ANYTHING
