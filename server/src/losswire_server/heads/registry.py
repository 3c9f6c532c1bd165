"""The heads that this server holds, bounded in number and in bytes."""

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence

import ce_engine
from losswire import v1
from losswire.heads.rules import is_digest
from losswire_server.errors import NotPermittedError
from losswire_server.heads.errors import HeadNotFoundError, HeadQuotaError, NoSuchHeadError
from losswire_server.heads.held import IDLE_REFERENCES, Entry, Held
from losswire_server.heads.observer import UNSEEN, Observer

MOST_ALIASES = 64  # of a head


class Place:
    """Room for a head that is to come. Release it, or add the head in its place."""

    def __init__(self, nbytes: int, release: "Callable[[Place], object]") -> None:
        self.nbytes = nbytes
        self._release = release

    def release(self) -> None:
        """Gives the room back, once."""
        self._release(self)


class Heads:
    """Heads by their digests and aliases. May be used from any thread.

    Where there is no room for a new one, those make room that were used the longest ago. A head in use stays, and so do
    those that the operator gave.

    Args:
        max_bytes: The most memory that all take, with those that are deleted and still in use.
        max_heads: The most heads.
        observer: Is told of heads that made room, and of heads that were missed.
    """

    def __init__(self, max_bytes: int, max_heads: int, observer: Observer = UNSEEN) -> None:
        self.max_bytes = max_bytes
        self.max_heads = max_heads
        self._observer = observer
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}  # who was used last is last
        self._aliases: dict[str, str] = {}
        self._fixed: set[str] = set()  # aliases that the operator gave
        self._places: set[Place] = set()
        self._leaving: list[tuple[weakref.ref[ce_engine.Head], int]] = []  # deleted, and perhaps still in use

    @property
    def count(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Memory that heads take, with room for those that are to come."""
        with self._lock:
            return self._nbytes()

    def use(self, name: str, field: str) -> ce_engine.Head:  # noqa: ARG002 - NO_HEADS needs it
        """As `UsesHeads`."""
        with self._lock:
            entry = self._find(name)
            if entry is not None:
                self._entries[entry.digest] = self._entries.pop(entry.digest)
                return entry.head
        self._observer.missed()
        raise HeadNotFoundError(name)

    def find(self, name: str, field: str = "name") -> Held | None:  # noqa: ARG002 - others need it
        """As `UsesHeads`."""
        with self._lock:
            entry = self._find(name)
            return None if entry is None else entry.held()

    def held(self) -> list[Held]:
        """All heads, in the order of their digests."""
        with self._lock:
            return [self._entries[digest].held() for digest in sorted(self._entries)]

    def has_room(self, nbytes: int, released: Sequence[Place]) -> bool:
        """Whether there would be room for a head that is to come, if these places were released."""
        with self._lock:
            return self._leaving_for(nbytes, released) is not None

    def reserve(self, nbytes: int) -> Place:
        """Holds room for a head that is to come.

        Raises:
            HeadQuotaError: There is none.
        """
        place = Place(nbytes, self._release)
        with self._lock:
            leaving = self._make_room(nbytes)
            self._places.add(place)
        leaving.clear()  # not under the lock, which the event loop takes: to free a gigabyte takes 0.25 s
        return place

    def add(
        self,
        digest: str,
        form: v1.Head,
        head: ce_engine.Head,
        *,
        place: Place | None = None,
        permanent: bool = False,
        aliases: Iterable[str] = (),
        sender: str | None = None,
    ) -> Held:
        """Holds a head from now on. If it is here already, that one stays.

        Args:
            digest: Of its content.
            form: Its content without elements.
            head: The head.
            place: Room that was held for it, which is released.
            permanent: Whether the operator gave it.
            aliases: By which the operator names it.
            sender: Which caller sent all of it.

        Raises:
            HeadQuotaError: There is no room for it.
        """
        leaving: list[Entry] = []
        with self._lock:
            if place is not None:
                self._places.discard(place)
            entry = self._entries.get(digest)
            if entry is None:
                leaving = self._make_room(head.nbytes)
                entry = self._entries[digest] = Entry(digest, form, head, permanent=permanent)
            entry.permanent = entry.permanent or permanent
            for alias in aliases:
                self._name(entry, alias)
                self._fixed.add(alias)
            if sender is not None:
                entry.senders.add(sender)
            held = entry.held()
        leaving.clear()  # as in `reserve`
        return held

    def set_alias(self, alias: str, digest: str) -> Held:
        """Names a head. The alias is no other head's any more.

        Raises:
            NoSuchHeadError: This server does not hold it.
            HeadQuotaError: It has as many names as a head may have.
            NotPermittedError: The operator gave the alias to another head.
        """
        with self._lock:
            entry = self._existing(digest)
            if alias in self._fixed and self._aliases[alias] != digest:
                raise NotPermittedError(f"alias: expected another one, since the operator gave {alias!r} to a head")
            if alias not in entry.aliases and len(entry.aliases) >= MOST_ALIASES:
                raise HeadQuotaError(f"the head {digest!r} has {MOST_ALIASES} aliases, as many as it may have")
            self._name(entry, alias)
            return entry.held()

    def delete(self, name: str) -> None:
        """Deletes a head by its digest, or an alias. Who uses the head goes on.

        Raises:
            NoSuchHeadError: This server does not hold it.
            NotPermittedError: The operator gave it.
        """
        with self._lock:
            entry = self._existing(name)
            if name in self._fixed or (is_digest(name) and entry.permanent):
                raise NotPermittedError(f"name: expected another one, since the operator gave {name!r} to this server")
            if is_digest(name):
                self._remove(entry)
            else:
                entry.aliases.remove(name)
                del self._aliases[name]

    def _release(self, place: Place) -> None:
        with self._lock:
            self._places.discard(place)

    def _find(self, name: str) -> Entry | None:
        return self._entries.get(self._aliases.get(name, name))

    def _existing(self, name: str) -> Entry:
        entry = self._find(name)
        if entry is None:
            raise NoSuchHeadError(name)
        return entry

    def _name(self, entry: Entry, alias: str) -> None:
        if alias in self._aliases:
            self._entries[self._aliases[alias]].aliases.remove(alias)
        self._aliases[alias] = entry.digest
        entry.aliases.add(alias)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.digest]
        for alias in entry.aliases:
            del self._aliases[alias]
        self._leaving.append((weakref.ref(entry.head), entry.nbytes))

    def _nbytes(self) -> int:
        self._leaving = [(head, nbytes) for head, nbytes in self._leaving if head() is not None]
        held = sum(entry.nbytes for entry in self._entries.values()) + sum(place.nbytes for place in self._places)
        return held + sum(nbytes for _, nbytes in self._leaving)

    def _make_room(self, nbytes: int) -> list[Entry]:
        """Lets heads go until so many bytes are free, but none if that would not be enough. Returns them."""
        leaving = self._leaving_for(nbytes)
        if leaving is None:
            raise self._too_much(nbytes)
        for entry in leaving:
            self._remove(entry)
            self._observer.evicted()
        return leaving

    def _leaving_for(self, nbytes: int, released: Sequence[Place] = ()) -> list[Entry] | None:
        """The heads that would make room; None if they are too few. An error that is raised here would keep them."""
        missing_bytes = self._nbytes() + nbytes - self.max_bytes - sum(place.nbytes for place in released)
        missing_places = len(self._entries) + len(self._places) + 1 - self.max_heads - len(released)
        leaving: list[Entry] = []
        for entry in self._entries.values():
            if missing_bytes <= 0 and missing_places <= 0:
                break
            if not entry.permanent and entry.references <= IDLE_REFERENCES:
                leaving.append(entry)
                missing_bytes -= entry.nbytes
                missing_places -= 1
        return None if missing_bytes > 0 or missing_places > 0 else leaving

    def _too_much(self, nbytes: int) -> HeadQuotaError:
        if nbytes > self.max_bytes:
            return HeadQuotaError(f"the head needs {nbytes} bytes, and all heads may take {self.max_bytes}")
        if len(self._entries) + len(self._places) >= self.max_heads:
            return HeadQuotaError(f"there are {self.max_heads} heads, as many as there may be, and none can make room")
        problem = f"heads take {self._nbytes()} of at most {self.max_bytes} bytes"
        return HeadQuotaError(f"{problem}, this one needs {nbytes} more, and too few of them can make room")
