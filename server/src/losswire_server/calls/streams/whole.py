"""What one stream asks for as a whole, from its header to its summary."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, SlabFrame
from losswire.losses import loss_of
from losswire_server.calls.evaluation import Evaluation, all_done, ended
from losswire_server.calls.streams.slabs import written
from losswire_server.calls.work import READ_AT_ONCE_BYTES, is_short
from losswire_server.errors import TooLargeError
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.requests import cost
from losswire_server.requests.ends import Evaluated, Labels, answer_bytes, shared_bytes
from losswire_server.requests.heads.permitted import permitted
from losswire_server.requests.one import Respond, plan_request
from losswire_server.requests.permission import Permission
from losswire_server.requests.runs.exact import Exact
from losswire_server.requests.runs.keyed import Keyed
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import Part, PartEnd, StreamRequest
from losswire_server.runs.records import Entry

T = TypeVar("T")


class Whole:
    """Reads the messages of one stream, and adds up what comes of them: here, or in a reader's thread.

    Args:
        evaluation: Of the stream.
        permission: What the caller may ask for.
        max_message_bytes: Of the server; no row has more.
        heads: Those of the server.

    Attributes:
        seconds: That everything took until now.
    """

    def __init__(
        self, evaluation: Evaluation, permission: Permission, max_message_bytes: int, heads: UsesHeads = NO_HEADS
    ) -> None:
        self.seconds = 0.0
        self._evaluation = evaluation
        self._permission = permission
        self._max_message_bytes = max_message_bytes
        self._heads = permitted(heads, permission)
        self._header = v1.EvaluateRequest()
        self._request: StreamRequest | None = None
        self._complete: tuple[ce_engine.Slab, Respond] | None = None  # if the header has all elements
        self._classes = 0  # not known yet
        self._tally: ce_engine.Tally | None = None
        self._keyed: Keyed | None = None
        self._exact: Exact | None = None
        self._received_bytes = self._sent_bytes = 0

    @property
    def is_complete(self) -> bool:
        """Whether all elements have come."""
        return self._request is None or self._request.is_complete

    @property
    def held_bytes(self) -> int:
        """What is kept until the summary."""
        return 0 if self._request is None else self._request.held_bytes

    def result_bytes(self, message_bytes: int) -> int:
        """Size of the results of the slab in a message of that size."""
        return 0 if self._request is None else round(self._request.result_bytes * message_bytes)

    async def open(self, message: bytes) -> None:
        """Reads the header.

        Raises:
            TooLargeError: A row fits no message, or the call must hold more bytes than may be in flight.
            FieldError: A field is wrong, or there is no header; see `StreamHeader`.
            Exception: See `Evaluation.read` and `plan_request`.
        """
        self._received_bytes += len(message)
        seconds = 0.0 if len(message) <= READ_AT_ONCE_BYTES else math.inf
        await self._do(partial(self._open, message), seconds, "read")

    async def plan(self, message: bytes) -> Part | None:
        """Reads a message with a slab; None if it has nothing to evaluate.

        Raises:
            FieldError: It has no slab, or a wrong one; see `StreamRequest`.
            Exception: See `Evaluation.read`.
        """
        self._received_bytes += len(message)
        frame = REQUESTS.read(message)
        if not isinstance(frame, SlabFrame):
            raise FieldError("header", "expected one header, got another")
        if self._request is None:
            raise FieldError("slab", "expected none, since the header has all elements of the input")
        part = await self._do(partial(self._request.plan, frame), self._request.planning_seconds(frame), "read")
        if part is not None:
            self._classes = part.slab.kind.class_count
        return part

    async def add(self, end: PartEnd, seconds: float) -> None:
        """Adds what came of a slab, which took so many seconds."""
        self.seconds += seconds
        self._sent_bytes += len(end.reply or b"")
        request = cast("StreamRequest", self._request)
        await self._do(partial(request.add, end), cost.adding_seconds(end.rows.row_count), "reply")

    async def summary(self) -> v1.EvaluateResponse:
        """What all slabs come to.

        Raises:
            FieldError: Elements are missing.
            Exception: See `Evaluation.submit`.
        """
        if self._complete is None:
            return await self._do(cast("StreamRequest", self._request).summary, 0.0, "reply")
        slab, respond = self._complete
        self._classes = slab.kind.class_count
        future = self._evaluation.submit(slab, partial(written, partial(_answered, respond)))
        await all_done([future])
        (summary, self._tally, self._exact), seconds = ended(future)
        self.seconds += seconds
        return summary

    @property
    def keyed(self) -> Keyed | None:
        """The stream's place in a run; None if it is in none."""
        return self._keyed

    def entries(self) -> list[Entry]:
        """What the whole adds to a run, after its summary."""
        exact = self._exact if self._request is None else self._request.exact
        return [] if self._keyed is None else [self._keyed.entry(exact)]

    def evaluated(self, summary: v1.EvaluateResponse, message_bytes: int) -> Evaluated:
        """The whole, as metrics count it. The last message, with the summary, has so many bytes."""
        labels, tally = Labels.of(self._header, "stream"), self._tally if self._request is None else self._request.tally
        sent = answer_bytes(summary, self._sent_bytes + message_bytes)
        received = self._received_bytes + shared_bytes(self._header)
        return Evaluated(labels, [summary], self._classes, tally, received, sent)

    def _open(self, message: bytes) -> None:
        header = REQUESTS.read(message) if message else None
        if not isinstance(header, v1.EvaluateRequest):
            raise FieldError("part", f"expected a header first, got {'a slab' if header else 'nothing'}")
        self._header = header
        self._permission.check(loss_of(header.spec), header.series)
        self._permission.check_run(header.run_key.run)
        if leaves_input_open(header):
            checked = StreamHeader.of(header, self._heads)
            self._check_row(checked.row_bytes)
            self._evaluation.held.check_fits(len(message) + checked.ahead_bytes)  # held as it comes, which may be never
            self._request = StreamRequest(checked)
        else:
            self._complete = plan_request(header, reserve=self._evaluation.reserve, held=self._heads)
        self._keyed = Keyed.of(header)

    def _check_row(self, row_bytes: int) -> None:
        # So an array with one number a class, such as class counts, takes at most a few times the largest message.
        if row_bytes > self._max_message_bytes:
            raise TooLargeError(f"a row has {row_bytes} bytes, and a message at most {self._max_message_bytes}")

    async def _do(self, work: Callable[[], T], seconds: float, step: str) -> T:
        """Does work that probably takes so long, as a step of that name: here, or in a reader's thread."""
        done = partial(_timed, work)
        value, start, end = done() if is_short(seconds) else await self._evaluation.read(done)
        self._evaluation.recording.add(step, start, end)
        self.seconds += end - start
        return value


def _answered(
    respond: Respond, result: ce_engine.LossResult
) -> tuple[v1.EvaluateResponse, ce_engine.Tally | None, Exact | None]:
    return respond(result).message(), result.tally, Exact.of(result)


def _timed(work: Callable[[], T]) -> tuple[T, float, float]:
    start = time.perf_counter()
    return work(), start, time.perf_counter()
