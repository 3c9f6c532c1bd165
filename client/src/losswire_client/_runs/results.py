"""What a run has come to, as callers see it. The numbers follow from the exact sums."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from losswire import v1
from losswire.exact_sums import ExactSums
from losswire.losses import loss_of
from losswire.statistics import MeanChange, Statistics
from losswire_client._runs.texts import progress_text, result_text
from losswire_client._transports.answers import understood


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """Exact sums of some of a run's rows, and the numbers that follow from them: see `Statistics`.

    Attributes:
        sums: The exact sums.
        key_count: Keys with such rows; None for a class.
    """

    sums: ExactSums = field(repr=False)
    key_count: int | None = None

    @cached_property
    def statistics(self) -> Statistics:
        """The numbers that follow, each rounded once. The properties below are the same numbers."""
        return self.sums.statistics

    @property
    def mean(self) -> float:
        return self.statistics.mean

    @property
    def loss_sum(self) -> float:
        return self.statistics.loss_sum

    @property
    def weight_sum(self) -> float:
        return self.statistics.weight_sum

    @property
    def standard_error(self) -> float:
        return self.statistics.standard_error

    @property
    def perplexity(self) -> float:
        return self.statistics.perplexity

    @property
    def accuracy(self) -> float | None:
        return self.statistics.accuracy

    @property
    def mean_change(self) -> MeanChange | None:
        """Of a divergence, how labels' log-probabilities change; None unless all rows have labels."""
        return self.sums.mean_change

    def quantile(self, part: float) -> float | None:
        """Of a divergence, the loss that this part of the rows is below, to 1 %; None of another loss."""
        return self.sums.quantile(part)

    @property
    def row_count(self) -> int:
        return self.sums.row_count

    @property
    def ignored_count(self) -> int:
        return self.sums.ignored_count

    @property
    def nonfinite_count(self) -> int:
        return self.sums.loss.nonfinite_count


@dataclass(frozen=True, kw_only=True)
class RunKey(RunTotals):
    """A key that counts in a run, and what it counts.

    Attributes:
        key: Its name.
        slice: The slice that it was given; empty for none.
        committed: When it was committed, in UTC.
    """

    key: str
    slice: str
    committed: datetime


@dataclass(frozen=True, kw_only=True)
class RunProgress(RunTotals):
    """How far a run is.

    Attributes:
        name: Its name.
        expected_keys: How many keys it will have, if somebody said so.
        labels: What its creator noted about it.
        digest: SHA-256 of the loss and its options, in hexadecimal. Runs with the same digest can be compared.
        is_finished: Whether it takes no more keys.
        created: When it was created, in UTC like the other times.
        updated: When a key last counted; before one has, when it was created.
        finished: When it was finished; None before.
    """

    name: str
    expected_keys: int | None
    labels: Mapping[str, str]
    digest: str
    is_finished: bool
    created: datetime
    updated: datetime
    finished: datetime | None

    def __str__(self) -> str:
        return progress_text(self)


@dataclass(frozen=True, kw_only=True)
class RunResult(RunProgress):
    """What a run has come to, so far or for good.

    Attributes:
        loss: Name of its loss.
        by_slice: The totals of the keys of each slice, by name. Keys without a slice are only in the totals.
        by_class: The totals of the rows of each class, if the run was created with ``by_class=True``; else empty.
    """

    loss: str
    by_slice: Mapping[str, RunTotals] = field(repr=False)
    by_class: Mapping[int, RunTotals] = field(repr=False)

    def __str__(self) -> str:
        return result_text(self)


def to_progress(run: v1.Run) -> RunProgress:
    with understood():
        return RunProgress(**_progress(run))


def to_result(run: v1.Run) -> RunResult:
    with understood():
        return RunResult(
            **_progress(run),
            loss=loss_of(run.spec),
            by_slice={one.slice: RunTotals(**_totals(one.totals)) for one in run.slices},
            by_class={one.class_index: RunTotals(**_totals(one.totals)) for one in run.classes},
        )


def to_key(message: v1.RunKeySums) -> RunKey:
    with understood():
        committed = _time(message.commit_time)
        sums = ExactSums.from_message(message.sums)
        return RunKey(sums=sums, key_count=1, key=message.key, slice=message.slice, committed=committed)


def _progress(run: v1.Run) -> dict[str, Any]:
    return {
        **_totals(run.totals),
        "name": run.name,
        "expected_keys": run.expected_key_count if run.HasField("expected_key_count") else None,
        "labels": dict(run.labels),
        "digest": run.spec_digest,
        "is_finished": run.state == v1.RunState.RUN_STATE_FINISHED,
        "created": _time(run.create_time),
        "updated": _time(run.update_time),
        "finished": _time(run.finish_time) if run.HasField("finish_time") else None,
    }


def _totals(totals: v1.RunTotals) -> dict[str, Any]:
    return {
        "sums": ExactSums.from_message(totals.sums),
        "key_count": totals.key_count if totals.HasField("key_count") else None,
    }


def _time(message: Any) -> datetime:
    time: datetime = message.ToDatetime(tzinfo=UTC)
    return time
