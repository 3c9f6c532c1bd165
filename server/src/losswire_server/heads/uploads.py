"""Heads on their way: an upload that breaks goes on where it broke, for some minutes."""

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import NamedTuple

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.heads.content import content_bytes, digest_of, parts_of
from losswire_server.errors import OverloadedError
from losswire_server.heads.building import build, building_bytes, bytes_of, empty
from losswire_server.heads.errors import HeadMismatchError, HeadQuotaError
from losswire_server.heads.held import Held
from losswire_server.heads.registry import Heads, Place

MOST_UPLOADS = 8
RETRY_MILLISECONDS = 1000  # an upload takes some time


class Upload:
    """A head whose elements are to come. They are written to where the head will have them.

    Attributes:
        digest: That it is to have.
        form: The head without elements.
        total_bytes: Of all elements.
        received_bytes: Of the elements that came, which are the first ones.
        waiting_count: Streams that wait until the one that fills it ends.
        place: Room that is held for it.
    """

    def __init__(self, digest: str, form: v1.Head, place: Place) -> None:
        self.digest = digest
        self.form = form
        self.total_bytes = content_bytes(form)
        self.received_bytes = 0
        self.waiting_count = 0
        self._turn = asyncio.Lock()
        self._parts = parts_of(form)
        self._tensors = {part.name: empty(part.tensor) for part in self._parts}
        self._hashes = {part.name: hashlib.sha256() for part in self._parts}
        self.place = place

    @property
    def is_complete(self) -> bool:
        return self.received_bytes == self.total_bytes

    @asynccontextmanager
    async def filled(self) -> AsyncIterator[None]:
        """Waits until no other stream fills it, and lets none do so meanwhile."""
        self.waiting_count += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting_count -= 1
        try:
            yield
        finally:
            self._turn.release()

    def write(self, offset: int, data: bytes) -> None:
        """Takes the next elements.

        Raises:
            FieldError: They are not the next ones, or too many.
        """
        if offset != self.received_bytes:
            problem = f"expected {self.received_bytes}, the place of the next byte, got {offset}"
            raise FieldError("content.offset_bytes", problem)
        if len(data) > self.total_bytes - offset:
            problem = f"expected at most {self.total_bytes - offset} bytes more of this head, got {len(data)}"
            raise FieldError("content.data", problem)
        view, end = memoryview(data), offset + len(data)
        for part in self._parts:
            first, last = max(offset, part.offset), min(end, part.offset + part.size)
            if first < last:
                some = view[first - offset : last - offset]
                bytes_of(self._tensors[part.name])[first - part.offset : last - part.offset] = some
                self._hashes[part.name].update(some)
        self.received_bytes = end

    def finish(self, heads: Heads, sender: str | None = None) -> Held:
        """Verifies all elements, and holds the head, which this caller sent. Another one may take its room at once.

        Raises:
            HeadMismatchError: It has another digest.
            HeadQuotaError: It needs more than was expected, and there is no room for that.
            FieldError: The engine cannot have such a head.
        """
        came = digest_of(self.form, {name: taken.hexdigest() for name, taken in self._hashes.items()})
        if came != self.digest:
            raise HeadMismatchError(self.digest, came)
        try:
            head = build(self.form, self._tensors)
        except ce_engine.InvalidArgumentError as error:
            raise FieldError("header.head", str(error)) from error
        self._tensors.clear()
        return heads.add(self.digest, self.form, head, place=self.place, sender=sender)

    def release(self) -> None:
        """Gives back what was held for it."""
        self._tensors.clear()
        self.place.release()


Key = tuple[Hashable, str, bytes]


class Holder(NamedTuple):
    """Who has streams of uploads.

    Attributes:
        account: Whose streams count together.
        share: Of all uploads, which it may fill at a time.
    """

    account: Hashable = None
    share: float = 1.0


NOBODY = Holder()


class Uploads:
    """The uploads of all callers, bounded in number and, with the heads that are held, in bytes.

    May be used from any thread.

    Args:
        heads: Have room for what comes.
        resume_seconds: For which an upload that nobody fills is kept.
        clock: Gives seconds.

    Attributes:
        refused_count: Uploads that did not begin, since others left no room for them.
    """

    def __init__(self, heads: Heads, resume_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.resume_seconds = resume_seconds
        self.refused_count = 0
        self._heads = heads
        self._clock = clock
        self._lock = threading.RLock()
        self._uploads: dict[Key, Upload] = {}
        self._streams: dict[Key, list[Holder]] = {}  # of uploads that are filled, or waited for
        self._left: dict[Key, float] = {}  # when the last stream of an upload ended; the first one is first

    def __len__(self) -> int:
        return len(self._uploads)

    def enter(self, caller: Hashable, digest: str, form: v1.Head, holder: Holder = NOBODY) -> tuple[Key, Upload]:
        """The upload of a caller's head, which was begun or begins. Leave it at the end.

        What one caller sends is never added to what another one sent. The same is true of forms: another one has
        another digest, so that one of them is wrong.

        Raises:
            HeadQuotaError: There is no room for it.
            OverloadedError: The holder fills as many others as it may.
        """
        key = caller, digest, form.SerializeToString(deterministic=True)
        with self._lock:
            self.drop_left()
            self._check_share(key, holder)
            if key not in self._uploads:
                self._uploads[key] = self._begin(digest, form)
            self._left.pop(key, None)
            self._streams.setdefault(key, []).append(holder)
            return key, self._uploads[key]

    def leave(self, key: Key, holder: Holder = NOBODY) -> None:
        """A stream of a holder's has ended. What came by it is kept for some time."""
        with self._lock:
            self._streams[key].remove(holder)
            if not self._streams[key]:
                del self._streams[key]
                if key in self._uploads:
                    self._left[key] = self._clock()

    def end(self, key: Key) -> None:
        """An upload is over, whether its head is held or was wrong. Streams that wait for it look again."""
        with self._lock:
            upload = self._uploads.pop(key, None)
        if upload is not None:
            upload.release()

    def is_current(self, key: Key, upload: Upload) -> bool:
        """Whether an upload is not over."""
        return self._uploads.get(key) is upload

    def drop_left(self) -> None:
        """Drops uploads that nobody has filled for long."""
        with self._lock:
            until = self._clock() - self.resume_seconds
            for key in [key for key, since in self._left.items() if since <= until]:
                self._drop(key)

    def _begin(self, digest: str, form: v1.Head) -> Upload:
        place = self._reserved(building_bytes(form))
        try:
            return Upload(digest, form, place)
        except BaseException:  # there may be less memory than this server was told of
            place.release()
            raise

    def _reserved(self, nbytes: int) -> Place:
        """Room for one more upload, for which those that nobody fills are dropped."""
        if not self._heads.has_room(nbytes, [self._uploads[key].place for key in self._left]):
            self.refused_count += nbytes <= self._heads.max_bytes
            return self._heads.reserve(nbytes)  # is refused, and no other upload is dropped in vain
        while True:
            try:
                self._check_count()
                return self._heads.reserve(nbytes)
            except HeadQuotaError:
                if not self._drop_first():
                    self.refused_count += 1
                    raise

    def _check_share(self, key: Key, holder: Holder) -> None:
        accounts = [{each.account for each in holders} for of, holders in self._streams.items() if of != key]
        count, most = sum(holder.account in each for each in accounts), max(1, int(MOST_UPLOADS * holder.share))
        if count >= most and holder.account is not None:
            self.refused_count += 1
            problem = f"this caller has {count} heads on their way, and may have {most}"
            raise OverloadedError(problem, RETRY_MILLISECONDS, "caller_uploads")

    def _check_count(self) -> None:
        if len(self._uploads) >= MOST_UPLOADS:
            raise HeadQuotaError(f"{MOST_UPLOADS} heads are on their way, as many as may be at a time")

    def _drop_first(self) -> bool:
        """Drops the upload that nobody has filled for the longest time. Returns whether there was one."""
        key = next(iter(self._left), None)
        if key is not None:
            self._drop(key)
        return key is not None

    def _drop(self, key: Key) -> None:
        del self._left[key]
        self.end(key)
