"""Heads that callers register: taken in parts, verified, and built for the engine, off the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.heads.content import content_bytes, tensors_of, without_elements
from losswire.heads.rules import check_digest, check_head
from losswire.parsing import parse
from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.heads import HeadCalls, head_message
from losswire_server.heads.errors import HeadError, HeadMismatchError
from losswire_server.heads.held import Held
from losswire_server.heads.observer import UNSEEN, Observer
from losswire_server.heads.pace import Pace
from losswire_server.heads.uploads import Holder, Key, Upload, Uploads
from losswire_server.requests.check import check_known
from losswire_server.requests.heads.permitted import permitted

T = TypeVar("T")

MESSAGE_COPIES = 3  # of a part: grpcio's, that of the message, and its data


class Registration:
    """Answers RegisterHead. Use it in the event loop.

    Args:
        calls: Has the heads, and says who may register.
        uploads: Heads on their way.
        admission: Counts what arrives of them.
        readers: Threads that take messages apart, and build heads.
        observer: Is told what came of registrations.
    """

    def __init__(
        self,
        calls: HeadCalls,
        uploads: Uploads,
        admission: Admission,
        readers: Executor,
        observer: Observer = UNSEEN,
    ) -> None:
        self._calls = calls
        self._uploads = uploads
        self._admission = admission
        self._readers = readers
        self._observer = observer
        self._building = asyncio.Lock()  # a head may take a thread for seconds, and other calls need some too
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, messages: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[v1.RegisterHeadResponse]:
        """Says where to begin, takes the elements, and says what is held.

        Raises:
            FieldError: A field is wrong.
            HeadMismatchError: It has another digest.
            HeadQuotaError: There is no room for it.
            NotServedError: Callers may register no heads.
            NotPermittedError: This caller may not.
            OverloadedError: Too much is in flight.
        """
        self._calls.registering("RegisterHead", caller)
        held = self._admission.reservation(caller.account)
        try:
            async for answer in self._answers(messages, held, caller):
                yield answer
        except HeadError as error:
            self._observer.came("mismatch" if isinstance(error, HeadMismatchError) else "quota")
            raise
        finally:
            held.close()

    def end(self) -> None:
        """Looks after uploads no more."""
        if self._timer is not None:
            self._timer.cancel()

    async def _answers(
        self, messages: AsyncIterator[bytes], held: Reservation, caller: Caller
    ) -> AsyncIterator[v1.RegisterHeadResponse]:
        header = await self._header(messages, held, caller)
        found, was_known, holder = self._known(header, caller), True, _holder(caller)
        while found is None:
            key, upload = await self._enter(header, caller, holder)
            try:
                async with upload.filled():  # another stream of this caller may fill it, and may break or be done
                    if self._uploads.is_current(key, upload):
                        was_known = False
                        yield v1.RegisterHeadResponse(received_bytes=upload.received_bytes)
                        await self._fill(upload, messages, held, caller)
                        found = await self._finish(key, upload, caller)
            finally:
                await self._in_thread(partial(self._uploads.leave, key, holder))  # who enters may free gigabytes now
            found = found or self._known(header, caller)
        self._observer.came("known" if was_known else "registered")
        yield v1.RegisterHeadResponse(received_bytes=content_bytes(found.form), head=head_message(found, caller))

    def _known(self, header: v1.HeadHeader, caller: Caller) -> Held | None:
        """The head if the caller may use it. Else it sends all of it, as if nobody had: a digest proves nothing."""
        return permitted(self._calls.heads("RegisterHead"), caller.permission).find(header.digest, "header.digest")

    async def _header(self, messages: AsyncIterator[bytes], held: Reservation, caller: Caller) -> v1.HeadHeader:
        message = await anext(messages, b"")
        if not message:
            await caller.check_leaving()
        held.resize(MESSAGE_COPIES * len(message))
        header = await self._in_thread(partial(_header_of, message))
        held.resize(0)
        return header

    async def _fill(self, upload: Upload, messages: AsyncIterator[bytes], held: Reservation, caller: Caller) -> None:
        pace = Pace(upload, self._uploads)
        while not upload.is_complete:
            message = await self._next(pace, messages)
            if message is None:
                await caller.check_leaving()
                problem = f"expected {upload.total_bytes} bytes of this head in all, got {upload.received_bytes}"
                raise FieldError("content", problem)
            held.resize(MESSAGE_COPIES * len(message))
            await self._in_thread(partial(_take, upload, message))
            del message
            held.resize(0)
            pace.check()

    async def _next(self, pace: Pace, messages: AsyncIterator[bytes]) -> bytes | None:
        """The next message; None after the last.

        Raises:
            OverloadedError: See `Pace`. What came is kept until others need its room.
        """
        reading = asyncio.ensure_future(anext(messages, None))
        try:
            while not (await asyncio.wait({reading}, timeout=pace.seconds_left))[0]:
                pace.check()
            return reading.result()
        finally:
            reading.cancel()

    async def _finish(self, key: Key, upload: Upload, caller: Caller) -> Held:
        """Verifies and holds a head. If that fails, what came of it is dropped."""
        heads, sender = self._calls.heads("RegisterHead"), caller.permission.caller
        async with self._building:  # a stream that breaks before its turn leaves all of it to the next one
            try:
                return await self._in_thread(partial(upload.finish, heads, sender))
            finally:
                await self._in_thread(partial(self._uploads.end, key))

    async def _enter(self, header: v1.HeadHeader, caller: Caller, holder: Holder) -> tuple[Key, Upload]:
        """The upload of a head, in another thread: to make room may free gigabytes."""
        name = None if caller.name == caller.peer else caller.name  # else nobody could go on over another connection
        entering = self._submit(partial(self._uploads.enter, name, header.digest, header.head, holder))
        if self._timer is None:
            self._drop_later()
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(partial(self._leave_entered, holder))
            raise

    def _leave_entered(self, holder: Holder, entering: "asyncio.Future[tuple[Key, Upload]]") -> None:
        if not entering.cancelled() and entering.exception() is None:
            self._submit(partial(self._uploads.leave, entering.result()[0], holder))

    def _drop_left(self) -> None:
        self._timer = None
        self._submit(self._uploads.drop_left)
        if len(self._uploads):
            self._drop_later()

    def _drop_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._uploads.resume_seconds, self._drop_left)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Does work in another thread, and does not leave it: another stream may go on with the upload."""
        future = self._submit(work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with suppress(
                    asyncio.CancelledError
                ):  # a call may be cancelled by its caller, and by a server that stops
                    await asyncio.wait({future})
            raise

    def _submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        try:
            return asyncio.get_running_loop().run_in_executor(self._readers, work)
        except RuntimeError as error:
            raise ce_engine.EngineClosedError("the readers have ended") from error


def _holder(caller: Caller) -> Holder:
    return Holder() if caller.account is None else Holder(caller.account, caller.account.limits.share)


def _header_of(message: bytes) -> v1.HeadHeader:
    request = _parsed(message, "header")
    header = request.header
    check_digest(header.digest, "header.digest")
    check_head(header.head, "header.head")
    for name, tensor in tensors_of(header.head).items():
        if tensor.WhichOneof("storage") is not None:
            raise FieldError(f"header.head.{name}", "expected a tensor without elements, which follow")
    return v1.HeadHeader(digest=header.digest, head=without_elements(header.head))


def _take(upload: Upload, message: bytes) -> None:
    part = _parsed(message, "content").content
    upload.write(part.offset_bytes, part.data)


def _parsed(message: bytes, expected: str) -> v1.RegisterHeadRequest:
    request = parse(v1.RegisterHeadRequest, message)
    check_known(request)
    if request.WhichOneof("part") != expected:
        raise FieldError("part", f"expected {expected}, got {request.WhichOneof('part') or 'nothing'}")
    return request
