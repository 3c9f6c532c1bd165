"""The tokens of callers. The server stores no token, only hashes."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from losswire_server.calls.limits import CallerLimits
from losswire_server.process.rotating import Rotating
from losswire_server.rpc.security.identity import Identity
from losswire_server.rpc.security.token_file import Entry, read_entries
from losswire_server.settings import Settings


class Tokens:
    """The tokens of a file, which may be replaced. Calls under way end as they began.

    Args:
        file: See `read_entries`.
        settings: Have the limits of callers whose tokens have none of their own.
        on_failure: Is called when a new file turns out to be wrong.

    Raises:
        WrongSettingsError: The file is wrong.
    """

    def __init__(self, file: Path, settings: Settings, on_failure: Callable[[], object] = lambda: None) -> None:
        read = partial(_read, file, CallerLimits.of(settings))
        self._rotating = Rotating("tokens", [file], read, on_failure)

    def find(self, token: str) -> Identity | None:
        """Whose token it is; None if nobody's. How long that takes tells nothing about the tokens that are known."""
        presented = hashlib.sha256(token.encode()).digest()
        found = None
        for known in self._rotating.current():  # all of them, although one has been found
            if hmac.compare_digest(known.digest, presented):
                found = known.identity
        return found


class _Known(NamedTuple):
    digest: bytes  # SHA-256 of the token
    identity: Identity


def _read(file: Path, limits: CallerLimits) -> Sequence[_Known]:
    return [_Known(bytes.fromhex(entry.sha256), _identity(entry, limits)) for entry in read_entries(file)]


def _identity(entry: Entry, limits: CallerLimits) -> Identity:
    return Identity(entry.name, limits._replace(**entry.own_limits), entry.permission)
