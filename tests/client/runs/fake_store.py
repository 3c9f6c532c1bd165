"""The runs of the fake service, in memory: the contract of `RunService`, without its disk."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from operator import add
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from losswire import v1
from losswire.exact_sums import NOTHING, ExactSums, merged
from losswire.losses import loss_of, options_of

PAGE = 2  # so that any list has several pages
OPEN, FINISHED = v1.RunState.RUN_STATE_OPEN, v1.RunState.RUN_STATE_FINISHED


class RefusedError(Exception):
    """A call that ends with a status.

    Attributes:
        code: The status.
        details: Its details.
    """

    def __init__(self, code: grpc.StatusCode, text: str, *details: Message) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


@dataclass
class Counted:
    slice: str
    sums: ExactSums
    by_class: dict[int, ExactSums]
    order: int


@dataclass
class Kept:
    """A run with its keys."""

    run: v1.Run
    keys: dict[str, Counted] = field(default_factory=dict)

    def message(self, *, whole: bool = True) -> v1.Run:
        run, keys = v1.Run(), list(self.keys.values())
        run.CopyFrom(self.run)
        run.totals.CopyFrom(_totals([key.sums for key in keys], keys))
        if whole:
            for name in sorted({key.slice for key in keys} - {""}):
                chosen = [key for key in keys if key.slice == name]
                run.slices.add(slice=name, totals=_totals([key.sums for key in chosen], chosen))
            by_class: dict[int, ExactSums] = {}
            for key in keys if run.by_class else ():
                by_class = merged(by_class, key.by_class)
            for number, sums in by_class.items():
                run.classes.add(class_index=number, totals=_totals([sums], None))
        return run


class Store:
    """All runs. Any thread may call it.

    Attributes:
        changed: Notified of every change.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._runs: dict[str, Kept] = {}
        self._seconds = 0

    def create(self, request: v1.CreateRunRequest) -> v1.CreateRunResponse:
        with self.changed:
            run = self._new(request)
            found = self._runs.get(request.name)
            if found is None:
                self._runs[run.name] = Kept(run)
            elif field := next((name for name in ("spec_digest", "by_class") if _differ(name, found.run, run)), None):
                raise _wrong("spec" if field == "spec_digest" else field, "RUN_EXISTS", grpc.StatusCode.ALREADY_EXISTS)
            return v1.CreateRunResponse(run=self._runs[run.name].message(), created=found is None)

    def get(self, name: str) -> Kept:
        if name not in self._runs:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"there is no run {name!r}", _info("RUN_NOT_FOUND"))
        return self._runs[name]

    def names(self, prefix: str) -> list[str]:
        return [name for name in reversed(self._runs) if name.startswith(prefix)]

    def count(self, request: v1.EvaluateRequest, sums: ExactSums, by_class: dict[int, ExactSums]) -> bool:
        """Counts a key once. Returns whether it counted before."""
        with self.changed:
            kept, key = self.get(request.run_key.run), request.run_key
            if _digest(request.spec) != kept.run.spec_digest:
                raise _wrong("spec", "RUN_MISMATCH", grpc.StatusCode.FAILED_PRECONDITION)
            if kept.run.by_class and not request.exact.by_class:
                raise _wrong("exact.by_class", "RUN_MISMATCH", grpc.StatusCode.FAILED_PRECONDITION)
            if key.key in kept.keys:
                return _check_same(key, kept.keys[key.key], sums)
            if kept.run.state == FINISHED:
                text = f"the run {key.run!r} is finished"
                raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, text, _info("RUN_FINISHED"))
            kept.keys[key.key] = Counted(key.slice, sums, by_class, self._tick(kept.run.update_time))
            self.changed.notify_all()
            return False

    def finish(self, request: v1.FinishRunRequest) -> v1.Run:
        with self.changed:
            kept = self.get(request.name)
            if kept.run.state == OPEN:
                self._check_complete(kept, request)
                kept.run.state = FINISHED
                self._tick(kept.run.finish_time)
                self.changed.notify_all()
            return kept.message()

    def delete(self, name: str) -> None:
        with self.changed:
            self.get(name)
            del self._runs[name]
            self.changed.notify_all()

    def _new(self, request: v1.CreateRunRequest) -> v1.Run:
        run = v1.Run(name=request.name, spec=request.spec, by_class=request.by_class, labels=request.labels, state=OPEN)
        run.spec_digest = _digest(request.spec)
        if request.HasField("expected_key_count"):
            run.expected_key_count = request.expected_key_count
        self._tick(run.create_time)
        run.update_time.CopyFrom(run.create_time)
        return run

    def _tick(self, time: Any) -> int:
        self._seconds += 1
        time.FromSeconds(self._seconds)
        return self._seconds

    def _check_complete(self, kept: Kept, request: v1.FinishRunRequest) -> None:
        if request.WhichOneof("expected") == "keys":
            expected = list(request.keys.keys)
            _check_keys([k for k in expected if k not in kept.keys], [k for k in kept.keys if k not in expected])
            return
        told = request.HasField("key_count")
        if not told and not kept.run.HasField("expected_key_count"):
            raise _wrong("expected", "INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT)
        count = request.key_count if told else kept.run.expected_key_count
        if count != len(kept.keys):
            text = f"expected {count} keys, got {len(kept.keys)}"
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, text, _info("RUN_INCOMPLETE"))


def page(items: Sequence[Any], token: str, fill: Callable[[Any], object]) -> str:
    """Fills in the items of a page, and returns the token of the next one."""
    start = int(token or 0)
    for item in items[start : start + PAGE]:
        fill(item)
    return str(start + PAGE) if start + PAGE < len(items) else ""


def _check_keys(missing: list[str], unexpected: list[str]) -> None:
    if missing or unexpected:
        failure = error_details_pb2.PreconditionFailure()
        for kind, keys in (("MISSING_KEY", missing), ("UNEXPECTED_KEY", unexpected)):
            for key in keys:
                failure.violations.add(type=kind, subject=key)
        text = f"{len(missing)} keys are missing, {len(unexpected)} were not expected"
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, text, _info("RUN_INCOMPLETE"), failure)


def _check_same(key: v1.RunKey, counted: Counted, came: ExactSums) -> bool:
    if counted.slice == key.slice and counted.sums.is_same(came):
        return True
    conflict = v1.KeyConflict(run_key=key, counted=counted.sums.to_message(), came=came.to_message())
    conflict.run_key.slice, conflict.came_slice = counted.slice, key.slice
    text = f"the key {key.key!r} counts already"
    raise RefusedError(grpc.StatusCode.ALREADY_EXISTS, text, _info("KEY_CONFLICT"), conflict)


def _totals(sums: Sequence[ExactSums], keys: Sequence[Counted] | None) -> v1.RunTotals:
    total = reduce(add, sums, NOTHING)
    count = None if keys is None else len(keys)
    return v1.RunTotals(key_count=count, sums=total.to_message(), statistics=total.statistics.to_message())


def _digest(spec: v1.LossSpec) -> str:
    content = options_of(spec).SerializeToString(deterministic=True)
    return sha256(loss_of(spec).encode() + content).hexdigest()


def _differ(name: str, a: v1.Run, b: v1.Run) -> bool:
    return bool(getattr(a, name) != getattr(b, name))


def _wrong(field: str, reason: str, code: grpc.StatusCode) -> RefusedError:
    details = error_details_pb2.BadRequest()
    details.field_violations.add(field=field, description="expected that of the run")
    return RefusedError(code, f"{field}: expected that of the run", _info(reason), details)


def _info(reason: str) -> Message:
    info: Message = error_details_pb2.ErrorInfo(reason=reason, domain="losswire")
    return info
