"""Runs as the contract's messages."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from losswire import v1
from losswire.runs import spec_digest
from losswire_server.runs.records import KeyRecord, NewRun, RunRecord, Totals

NANOSECONDS = 10**9


def new_run(request: v1.CreateRunRequest) -> NewRun:
    """The run that a request creates, which passes `check_new_run`."""
    expected = request.expected_key_count if request.HasField("expected_key_count") else None
    return NewRun(
        name=request.name,
        spec=request.spec.SerializeToString(deterministic=True),
        digest=spec_digest(request.spec),
        by_class=request.by_class,
        labels=dict(request.labels),
        expected_keys=expected,
    )


def run_message(record: RunRecord, *, with_spec: bool = True) -> v1.Run:
    finished = record.finished_at is not None
    message = v1.Run(
        name=record.name,
        spec_digest=record.digest,
        by_class=record.by_class,
        labels=record.labels,
        expected_key_count=record.expected_keys,
        state=v1.RunState.RUN_STATE_FINISHED if finished else v1.RunState.RUN_STATE_OPEN,
        create_time=_time(record.created_at),
        update_time=_time(record.updated_at),
        finish_time=None if record.finished_at is None else _time(record.finished_at),
        totals=_totals(record.totals),
        slices=[v1.RunSlice(slice=name, totals=_totals(totals)) for name, totals in sorted(record.slices.items())],
        classes=[
            v1.RunClass(class_index=number, totals=_totals(totals)) for number, totals in sorted(record.classes.items())
        ],
    )
    if with_spec:
        message.spec.ParseFromString(record.spec)
    return message


def key_messages(records: Iterable[KeyRecord]) -> list[v1.RunKeySums]:
    return [
        v1.RunKeySums(
            key=record.key,
            slice=record.slice,
            sums=record.sums.to_message(),
            commit_time=_time(record.committed_at),
        )
        for record in records
    ]


def _totals(totals: Totals) -> v1.RunTotals:
    return v1.RunTotals(
        key_count=totals.key_count,
        sums=totals.sums.to_message(),
        statistics=totals.sums.statistics.to_message(),
    )


def _time(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(round(seconds * NANOSECONDS))
    return stamp
