"""The desk admits, dispatches, times, counts and answers every evaluation, whatever the RPC.

Large messages are read and planned by reader threads, small ones on the event loop. What they ask for is evaluated by
the engine, in whose threads the answers are written too. On a CPU, short work is done on the event loop where it
arrives, even while large slabs wait for the engine: handing it over takes half as long as the work itself, and behind
large slabs it would be late.
"""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial

import grpc

from losswire_server.calls.answers import (
    Answer,
    answered,
    answered_at_once,
    begin,
    evaluated,
    evaluated_at_once,
    read_and_begin,
    request_count,
)
from losswire_server.calls.evaluation import Caller, Evaluation, Workplace
from losswire_server.calls.work import READ_AT_ONCE_BYTES, Read, TakesLongError, Work, is_short
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.evaluations import EvaluationMetrics
from losswire_server.metrics.series.losses import LossMetrics
from losswire_server.requests.ends import Evaluated
from losswire_server.requests.runs.keyed import Keyed
from losswire_server.runs.absent import NO_RUNS, Commits, Outcome
from losswire_server.runs.records import Entry
from losswire_server.tracing.recording import NOTHING, Recording

ENTRY_BYTES = 4096  # that the sums of a small evaluation take until they are on disk


class Desk:
    """Takes the evaluations of all calls. Use it in the event loop."""

    def __init__(
        self,
        workplace: Workplace,
        evaluations: EvaluationMetrics,
        losses: LossMetrics,
        packs: PackMetrics,
        runs: Commits = NO_RUNS,
    ) -> None:
        self._workplace = workplace
        self._evaluations = evaluations
        self._losses = losses
        self._packs = packs
        self._runs = runs
        self._on_cpu = workplace.engine.device.type == "cpu"

    def evaluation(self, caller: Caller) -> Evaluation:
        """A new evaluation, for a call of many messages. Close it at the end."""
        return Evaluation(self._workplace, caller)

    def is_for_here(self, seconds: float) -> bool:
        """Whether an evaluation that probably takes so many seconds is done on the event loop."""
        return self._on_cpu and is_short(seconds)

    def count(self, evaluated: Evaluated, seconds: float, recording: Recording = NOTHING) -> None:
        """Counts requests that took so many seconds together."""
        self._evaluations.count(evaluated, seconds)
        self._losses.count(evaluated)
        labels = evaluated.labels
        recording.evaluated(labels.loss, labels.series, evaluated.responses, evaluated.classes)

    async def commit(self, entries: Sequence[Entry], recording: Recording = NOTHING) -> list[Outcome]:
        """Adds evaluations to their runs, and waits until they are on disk. An entry that is refused has an error."""
        start = time.perf_counter()
        outcomes = await self._runs.commit(entries)
        recording.add("commit", start, time.perf_counter())
        return outcomes

    async def check_keyed(self, keyed: Keyed) -> None:
        """Checks an evaluation against its run before it is done, where it is long.

        Raises:
            Exception: What `commit` would refuse it with.
        """
        key = keyed.run_key
        await self._runs.check(key.run, keyed.digest, by_class=keyed.by_class, key=key.key, slice=key.slice)

    async def answer(self, data: bytes, read: Read, caller: Caller) -> bytes:
        """Answers the message of one request. If the caller leaves before its turn, no work is done for it.

        Args:
            data: The message.
            read: Turns the message into work.
            caller: Who sent it.

        Raises:
            OverloadedError: Too much is in flight, or waits for the engine.
            TooLargeError: The message would not fit even if nothing else were in flight.
            DeadlineExceededError: The caller's deadline passed before its turn.
            Exception: What `read` or its work raises.
        """
        return (await self._answered(data, read, caller)).data

    async def answer_pack(self, data: bytes, read: Read, caller: Caller) -> bytes:
        """Answers the message of many requests, and counts how each of them ends.

        Raises:
            Exception: As `answer`.
        """
        answer = await self._answered(data, read, caller)
        for code, requests in _codes(answer).items():
            self._packs.count(code, requests)
        return answer.data

    async def _answered(self, data: bytes, read: Read, caller: Caller) -> Answer:
        start = time.perf_counter()
        work = read(data) if len(data) <= READ_AT_ONCE_BYTES else None
        if work is not None and self.is_for_here(work.seconds):
            with suppress(TakesLongError):
                done = evaluated_at_once(work, start, caller.recording)
                done = done.without(await self._settle_held(work, len(data), caller))
                return self._counted(answered_at_once(done, caller.recording), caller.recording)
            work = None
        with closing(self.evaluation(caller)) as evaluation:
            evaluation.hold_message(len(data))
            caller.recording.add("admission", start, time.perf_counter())
            if work is not None and is_short(work.planning_seconds):
                begun = begin(work, start, evaluation)
            else:
                begun = await evaluation.read(partial(read_and_begin, data, read, evaluation))
            done = await evaluated(begun, evaluation)
            done = done.without(await self._settle(begun.work, caller))
            return self._counted(await answered(done, evaluation), caller.recording)

    async def _settle(self, work: Work, caller: Caller) -> dict[int, grpc.StatusCode]:
        """Answers nothing before what it adds to runs is on disk. Returns the codes of requests that fail by it.

        Meanwhile other calls go on, to be there with it.
        """
        entries = work.entries()
        if not entries:
            return {}
        caller.end_turn()
        return work.settle(await self.commit(entries, caller.recording))

    async def _settle_held(self, work: Work, message_bytes: int, caller: Caller) -> dict[int, grpc.StatusCode]:
        """As `_settle`, for a message that nothing is held for yet. The database may be away for seconds."""
        entries = work.entries()
        if not entries:
            return {}
        with closing(self.evaluation(caller)) as evaluation:
            evaluation.held.resize(message_bytes + ENTRY_BYTES * len(entries))
            return await self._settle(work, caller)

    def _counted(self, answer: Answer, recording: Recording) -> Answer:
        share = answer.shared_seconds / sum([request_count(end) for end, _ in answer.ends])
        for end, seconds in answer.ends:
            if isinstance(end, Evaluated):
                self.count(end, seconds + share * len(end.responses), recording)
        return answer


def _codes(answer: Answer) -> Counter[grpc.StatusCode]:
    """How many requests ended with each code."""
    codes = Counter[grpc.StatusCode]()
    for end, _ in answer.ends:
        codes[end if isinstance(end, grpc.StatusCode) else grpc.StatusCode.OK] += request_count(end)
    return codes
