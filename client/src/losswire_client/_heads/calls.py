"""The calls of HeadService, written once for clients that wait and clients that are awaited."""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from losswire import v1
from losswire.errors import FieldError
from losswire.heads.rules import check_alias, check_name, is_digest
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import (
    HeadNotFoundError,
    InvalidArgumentError,
    NotFoundError,
    NotServedError,
    StreamEndedError,
    invalid_argument,
    shown,
)
from losswire_client._heads.held import HeldHead, to_held
from losswire_client._heads.progress import reporting, tell_nobody
from losswire_client._heads.single_flight import SingleFlight
from losswire_client._request.head import Head, named_head
from losswire_client._retry import PASSING
from losswire_client._transports.upload import Upload
from losswire_client._transports.wire import Flow, Wire

T = TypeVar("T")
Heads = Mapping[str, Head]  # by their digests
Report = Callable[[int], object]

MOST_ROUNDS = 8  # that a call registers a head in: see `HeadCalls.ensuring`


class Send(Protocol):
    """Does a flow within a timeout, with the client's retries, and registers these heads where they are missing."""

    def __call__(self, flow: Flow[T], timeout: float | None, heads: Heads, /) -> Coroutine[Any, Any, T]: ...


class HeadCalls:
    """The calls of one client. All of them may be sent again.

    Args:
        send: Does what a call does.
        served: What the server serves.
    """

    def __init__(self, send: Send, served: Flow[Capabilities]) -> None:
        self._send = send
        self._served = served
        self._flights = SingleFlight()

    async def register(self, head: Head, alias: str | None, timeout: float | None, *, shows: bool) -> HeldHead:
        if not isinstance(head, Head):
            raise invalid_argument("head", f"expected a Head, got {shown(head)}")
        if alias is not None:
            _check("alias", alias, check_alias)
        with reporting(head.nbytes, shows=shows) as report:
            held = await self._send(partial(self._upload, head, report), timeout, {})
        return to_held(held) if alias is None else await self.set_alias(alias, head, timeout)

    async def list_heads(self, timeout: float | None) -> list[HeldHead]:
        answer = await self._call("ListHeads", v1.ListHeadsRequest(), timeout)
        return [to_held(held) for held in answer.heads]

    async def get(self, name: str | Head, timeout: float | None) -> HeldHead:
        digest_or_alias, _ = _named("name", name)
        return to_held((await self._call("GetHead", v1.GetHeadRequest(name=digest_or_alias), timeout)).head)

    async def set_alias(self, alias: str, name: str | Head, timeout: float | None) -> HeldHead:
        _check("alias", alias, check_alias)
        known, heads = _named("name", name)
        digest = known if is_digest(known) else (await self.get(known, timeout)).digest
        request = v1.SetHeadAliasRequest(alias=alias, digest=digest)
        return to_held((await self._call("SetHeadAlias", request, timeout, heads)).head)

    async def delete(self, name: str | Head, timeout: float | None) -> None:
        """Deletes a head. That it is not there is no error after an attempt whose answer was lost."""
        request, may_be_gone = v1.DeleteHeadRequest(name=_named("name", name)[0]), False

        async def attempt(wire: Wire, deadline: Deadline) -> None:
            nonlocal may_be_gone
            try:
                await wire.call_heads("DeleteHead", request, deadline)
            except NotFoundError:
                if not may_be_gone:
                    raise
            except PASSING:
                may_be_gone = True
                raise

        await self._send(attempt, timeout, {})

    def ensuring(self, flow: Flow[T], heads: Heads) -> Flow[T]:
        """A flow that goes on after it has registered those of these heads that the server lacks.

        Behind one name there may be several servers that take turns. Of two of them one could get every registration,
        and the other every call. So each round registers the head once more than the round before.
        """
        if not heads:
            return flow

        async def attempt(wire: Wire, deadline: Deadline) -> T:
            rounds = Counter[str]()
            while True:
                try:
                    return await self._tried(flow, heads, wire, deadline)
                except HeadNotFoundError as error:
                    head = heads.get(error.head)
                    if head is None:
                        raise
                    if rounds[error.head] == MOST_ROUNDS:
                        problem = f"registered {MOST_ROUNDS} times and gone again: the server has room for too few"
                        raise _missing(error, problem) from error
                    rounds[error.head] += 1
                    await self._give(head, rounds[error.head], error, wire, deadline)

        return attempt

    async def _tried(self, flow: Flow[T], heads: Heads, wire: Wire, deadline: Deadline) -> T:
        """What a flow gives. If its stream ends without a reason, a missing head may be the reason."""
        try:
            return await flow(wire, deadline)
        except StreamEndedError:
            for digest in heads:
                await _asked("GetHead", v1.GetHeadRequest(name=digest), wire, deadline)
            raise

    async def _give(self, head: Head, times: int, missing: HeadNotFoundError, wire: Wire, deadline: Deadline) -> None:
        try:
            for _ in range(times):
                if await self._flights.begin(head.digest, wire, deadline):
                    try:
                        await self._sent(head, tell_nobody, wire, deadline)
                    finally:
                        self._flights.end(head.digest)
        except NotServedError as refusal:
            raise _missing(missing, f"the server lacks it, and it cannot be registered: {refusal}") from refusal

    async def _upload(self, head: Head, report: Report, wire: Wire, deadline: Deadline) -> v1.HeldHead:
        while not await self._flights.begin(head.digest, wire, deadline):
            pass  # another caller has sent it, or failed to
        try:
            return await self._sent(head, report, wire, deadline)
        finally:
            self._flights.end(head.digest)

    async def _sent(self, head: Head, report: Report, wire: Wire, deadline: Deadline) -> v1.HeldHead:
        """Sends a head. After a stream that broke, another one goes on at once, as long as the server gets more."""
        served, began = await self._served(wire, deadline), -1
        header = v1.HeadHeader(digest=head.digest, head=head.form)
        while True:
            upload = Upload(header, list(head.elements.values()), served.max_message_bytes, report)
            try:
                await wire.register_head(upload, deadline)
                return upload.result()
            except InvalidArgumentError as error:
                if not error.argument:  # nothing of the header, but the elements
                    error.hint = "arrays of this Head were written to: make another one of them"
                raise
            except PASSING:
                if upload.began is None or upload.began <= began:
                    raise
                began = upload.began

    async def _call(self, method: str, request: Message, timeout: float | None, heads: Heads | None = None) -> Any:
        async def answer(wire: Wire, deadline: Deadline) -> Any:
            return await _asked(method, request, wire, deadline)

        return await self._send(answer, timeout, heads or {})


async def _asked(method: str, request: Any, wire: Wire, deadline: Deadline) -> Any:
    """The answer to a call. A head that is missing is the one that the call names."""
    try:
        return await wire.call_heads(method, request, deadline)
    except HeadNotFoundError as error:
        names = {field.name for field, _ in request.ListFields()} & {"name", "digest"}
        error.head = error.head or next((getattr(request, name) for name in names), "")
        raise


def _missing(error: HeadNotFoundError, problem: str) -> HeadNotFoundError:
    """The error about a head that was handed in, and yet is missing."""
    told = HeadNotFoundError(f"head {error.head}: {problem}", error.code)
    told.head = error.head
    return told


def _named(argument: str, value: object) -> tuple[str, Heads]:
    """The name of a head, and the head by its digest if it was handed in itself."""
    name, head = named_head(argument, value)
    _check(argument, name, check_name)
    return name, {} if head is None else {name: head}


def _check(argument: str, name: object, check: Callable[[str, str], None]) -> None:
    if not isinstance(name, str):
        raise invalid_argument(argument, f"expected a text, got {shown(name)}")
    try:
        check(name, argument)
    except FieldError as error:
        raise invalid_argument(argument, error.problem) from error
