"""A batch that comes in slabs, which are planned one by one as they come."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

import ce_engine
from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.errors import FieldError
from losswire.frames import RESPONSES, SlabFrame
from losswire.losses import RESULT_TENSORS, Width
from losswire.monitoring.buckets import ROW_LOSSES
from losswire.rows import SlabRows
from losswire_server.errors import NotServedError
from losswire_server.requests import cost
from losswire_server.requests.decoding import from_bytes
from losswire_server.requests.encoding import dtype_name, elements, fill
from losswire_server.requests.needed import CLASS_SUMS_BYTES
from losswire_server.requests.planning import PLANS, by_field
from losswire_server.requests.runs.exact import Exact, adding, exactness
from losswire_server.requests.slabs.row_tensors import ClassWeights, Coming, Narrow
from losswire_server.requests.slabs.stream_header import StreamHeader

# Fields of results, and the engine's names for the results of rows.
RESULTS: dict[str, str] = {
    tensor.field: "losses" if tensor.name == "loss" else tensor.name for tensor in RESULT_TENSORS
}
WIDTHS: dict[str, Width] = {tensor.field: tensor.width for tensor in RESULT_TENSORS}


class PartEnd(NamedTuple):
    """What came of a part.

    Attributes:
        rows: The part's.
        reduction: How its slab counts.
        results: Of its rows, without the reply's.
        dtypes: Of the fields of results.
        tally: Of the losses of its rows.
        exact: The exact sums over its rows; None unless wanted.
        reply: The message with results of rows; None if the summary has all that is wanted.
    """

    rows: SlabRows
    reduction: ce_engine.Reduction
    results: ce_engine.RowResults
    dtypes: dict[str, torch.dtype]
    tally: ce_engine.Tally
    exact: Exact | None
    reply: bytes | None


class Part(NamedTuple):
    """The next rows of a batch, planned.

    Attributes:
        slab: For the engine; its result is `RowResults`.
        end: Writes the reply from that result, in any thread. It does not hold the slab.
    """

    slab: ce_engine.Slab
    end: Callable[[ce_engine.RowResults], PartEnd]


class StreamRequest:
    """Plans a batch slab by slab, and adds up what comes of the slabs, both in row order.

    Attributes:
        tally: Of the losses of all rows that were added up.
        exact: The exact sums over these rows; None unless wanted.
    """

    def __init__(self, header: StreamHeader) -> None:
        self._header = header
        self._by_rows = dict(header.by_rows)
        self._dtypes: dict[str, torch.dtype] = {}  # of the fields of results
        self._batch: ce_engine.SlabBySlab | ce_engine.PlannedSlabBySlab | None = None
        self._next_row = 0
        self.tally: ce_engine.Tally | None = None
        self.exact: Exact | None = None
        self._exactness = exactness(header.request)
        if header.can_be_planned:
            self._batch = ce_engine.PlannedSlabBySlab(header.plan())
            self._by_rows = {}

    @property
    def held_bytes(self) -> int:
        """Memory of elements that came and are still needed, and of exact sums by class."""
        classes = len(self.exact.by_class or ()) if self.exact is not None else 0
        return sum(tensor.held_bytes for tensor in self._by_rows.values()) + CLASS_SUMS_BYTES * classes

    @property
    def result_bytes(self) -> float:
        """Bytes of results for each byte of the input, about."""
        return self._header.result_bytes

    @property
    def is_complete(self) -> bool:
        """Whether the input of all rows came."""
        return self._next_row == self._header.layout.row_count

    def planning_seconds(self, frame: SlabFrame) -> float:
        """Seconds that planning a slab probably takes."""
        header = self._header
        if self._batch is None and header.ahead:
            return math.inf
        targets = frame.row_count * (1 if header.index_targets else header.target_width)
        if "target_classes" in header.by_rows:
            targets *= 1 + cost.NAMED_TARGETS
        return cost.planning_seconds(targets) if self._by_rows else 0.0

    def plan(self, frame: SlabFrame) -> Part | None:
        """Takes in a slab, and plans its rows if it has their input.

        Raises:
            FieldError: A field is wrong, or the slab is not the next one.
            NotServedError: It has fields that this server does not know.
        """
        if frame.unknown:
            raise NotServedError("slab", f"this server does not know its field number {frame.unknown[0]}")
        slab = self._header.layout.slab_rows(frame.first_row, frame.row_count)
        if not frame.payloads:
            raise FieldError("slab", "expected elements of a tensor, got none")
        for name, data in frame.payloads.items():
            if name != "input":
                self._coming(name).add(data, slab)
        return self._plan(slab, frame.payloads["input"]) if "input" in frame.payloads else None

    def add(self, end: PartEnd) -> None:
        """Adds what came of a part."""
        if self._batch is None:
            raise TypeError("a part was planned")
        self._batch.add(end.reduction, end.results)
        self.tally = end.tally if self.tally is None else self.tally + end.tally
        self.exact = None if end.exact is None else end.exact.plus(self.exact)
        self._dtypes = end.dtypes

    def summary(self) -> v1.EvaluateResponse:
        """The summary of all rows.

        Raises:
            FieldError: Some rows did not come.
        """
        batch, row_count = self._batch, self._header.layout.row_count
        if batch is None or not self.is_complete:
            raise FieldError("slab.input", f"expected all {row_count} rows, got only the first {self._next_row}")
        summary = v1.EvaluateResponse(
            loss_sum=batch.loss_sum,
            weight_sum=batch.weight_sum,
            row_count=batch.row_count,
            ignored_count=batch.ignored_count,
            correct_count=batch.correct_count if "predictions" in self._dtypes else None,
            z_loss_sum=batch.z_loss_sum,
        )
        if self.exact is not None and self._header.request.HasField("exact"):
            self.exact.fill(summary)
        for field, dtype in self._dtypes.items():
            message = getattr(summary, field)
            message.dtype = BY_NAME[dtype_name(dtype)].wire
            message.shape.extend(self._header.result_shape(WIDTHS[field]))
        if self._header.options["reduction"] != "none":
            summary.loss.Clear()
            fill(summary.loss, torch.tensor(batch.loss(), dtype=self._dtypes["loss"]))
        return summary

    def _coming(self, name: str) -> Coming:
        tensor = self._by_rows.get(name)
        if isinstance(tensor, Coming):
            return tensor
        came = "it is complete" if name in self._header.by_rows else "it has none"
        raise FieldError(f"slab.{name}", f"expected no elements, since the header says that {came}")

    def _plan(self, rows: SlabRows, data: memoryview) -> Part:
        if rows.first_row != self._next_row:
            came = f"rows from {rows.first_row} on"
            raise FieldError("slab.first_row", f"expected input from row {self._next_row} on, got {came}")
        if self._batch is None:
            self._batch = self._begin()
        header = self._header
        x = from_bytes(data, header.dtype, rows.input_shape, "slab.input")
        if isinstance(self._batch, ce_engine.PlannedSlabBySlab):
            slab = self._batch.plan(x)
        else:
            with by_field(header.request.spec):
                slab = self._batch.plan(x, **{name: tensor.take(rows) for name, tensor in self._by_rows.items()})
        self._next_row = rows.end_row
        exact = adding(slab, self._exactness) if self._exactness else None
        return Part(slab, partial(_end, rows, slab.reduction, header.options["reduction"], exact))

    def _begin(self) -> ce_engine.SlabBySlab:
        header = self._header
        options, weight_sum = dict(header.options), float(header.layout.row_count)
        if header.ahead == "labels":
            weight_sum = self._sums_of_labels().weight_sum
        elif header.ahead:
            sums = self._sums()
            weight_sum = sums.weight_sum
            if header.index_targets:
                options["weight"] = sums.class_weight
            elif options.pop("weight") and sums.class_weight is not None:
                self._by_rows["weight"] = ClassWeights(self._by_rows["target"], sums.class_weight)
        return ce_engine.SlabBySlab(PLANS[header.loss], weight_sum=weight_sum, **options)

    def _sums(self) -> ce_engine.TargetSums:
        header, target = self._header, self._all("target")
        with by_field(header.request.spec):
            if not header.index_targets:
                return ce_engine.TargetSums.of_elements(target, header.options["weight"])
            options = {name: header.options[name] for name in ("weight", "ignore_index") if name in header.options}
            return ce_engine.TargetSums.of_classes(target, header.class_count, **options)

    def _sums_of_labels(self) -> ce_engine.TargetSums:
        header, labels = self._header, self._all("labels")
        try:
            return ce_engine.TargetSums.of_classes(labels, header.class_count, header.options.get("ignore_index", -100))
        except ce_engine.InvalidArgumentError as error:
            raise FieldError("labels", error.problem) from error

    def _all(self, name: str) -> torch.Tensor:
        tensor = self._by_rows[name]
        if isinstance(tensor, Coming):
            if not tensor.complete:
                what = "targets" if name == "target" else name
                problem = f"expected all {what} ahead of the input, since each result depends on all of them"
                raise FieldError(tensor.field, problem)
            tensor = self._by_rows[name] = Narrow(tensor.take_all(), self._header.layout)
        if not isinstance(tensor, Narrow):
            raise TypeError("only tensors with one number a row are needed ahead")
        return tensor.tensor


def _end(
    rows: SlabRows,
    reduction: ce_engine.Reduction,
    wanted: str,  # the reduction of the batch
    exact: Callable[[ce_engine.RowResults], Exact] | None,
    results: ce_engine.RowResults,
) -> PartEnd:
    dtypes: dict[str, torch.dtype] = {}
    payloads: dict[str, memoryview] = {}
    for field, name in RESULTS.items():
        tensor = getattr(results, name)
        if tensor is not None:
            dtypes[field] = tensor.dtype
            if field != "loss" or wanted == "none":
                payloads[field] = elements(tensor)
    reply = RESPONSES.write(rows.first_row, rows.row_count, payloads) if payloads else None
    tally = ce_engine.tally(results.losses, reduction, ROW_LOSSES)
    return PartEnd(rows, reduction, results.numbers(), dtypes, tally, exact and exact(results), reply)
