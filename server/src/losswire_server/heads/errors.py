"""Why a call for a head fails, and why heads cannot be loaded."""

from losswire_server.process.starting import CannotStartError
from losswire_server.text import one_line

MOST_TOLD = 1000  # characters: paths may be long


class HeadError(Exception):
    """A call for a head fails."""


class HeadNotFoundError(HeadError):
    """This server does not hold the head that a request names."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this server does not hold the head {name!r}: register it, or name another one")
        self.name = name


class NoSuchHeadError(HeadNotFoundError):
    """As above, where a call is about the head itself."""


class HeadQuotaError(HeadError):
    """There is no room for a head, or for one more name of it."""


class HeadMismatchError(HeadError):
    """What came is not the head of this digest."""

    def __init__(self, digest: str, came: str) -> None:
        super().__init__(f"expected the head of digest {digest}, got one of digest {came}")


class UnusableHeadsError(CannotStartError):
    """Heads cannot be loaded. The message names the file, to people."""

    def __init__(self, problem: str) -> None:
        super().__init__(one_line(f"heads: {problem}", MOST_TOLD))
