"""A head that is held, and how it is told."""

import sys
import time
from typing import NamedTuple

import ce_engine
from losswire import v1


class Held(NamedTuple):
    """A head as it was when it was asked for.

    Attributes:
        digest: SHA-256 of its content.
        form: Its content without elements.
        aliases: In alphabetical order.
        nbytes: Memory that it takes.
        created_at: Seconds since the epoch.
        permanent: Whether the operator gave it.
        senders: The callers who sent all of it, by the names of their permissions.
    """

    digest: str
    form: v1.Head
    aliases: tuple[str, ...]
    nbytes: int
    created_at: float
    permanent: bool
    senders: frozenset[str] = frozenset()


class Entry:
    """A head that is held. Use it under a lock."""

    def __init__(self, digest: str, form: v1.Head, head: ce_engine.Head, *, permanent: bool) -> None:
        self.digest = digest
        self.form = form
        self.head = head
        self.nbytes = head.nbytes
        self.aliases: set[str] = set()
        self.senders: set[str] = set()
        self.created_at = time.time()
        self.permanent = permanent

    def held(self) -> Held:
        aliases, senders = tuple(sorted(self.aliases)), frozenset(self.senders)
        return Held(self.digest, self.form, aliases, self.nbytes, self.created_at, self.permanent, senders)

    @property
    def references(self) -> int:
        """How many refer to the head, as Python counts them."""
        return sys.getrefcount(self.head)


class _Probe:
    nbytes = 0


# Of a head that nobody uses. A weak reference could not tell that while the entry refers to the head itself.
IDLE_REFERENCES = Entry("", v1.Head(), _Probe(), permanent=False).references  # type: ignore[arg-type]
